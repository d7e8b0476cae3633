"""The continuations bench: what going on from a prefix costs beside plain sampling of as many new tokens.

All sides write for the same number of rows, in one process, in turns whose order moves on every round, so that a busy
machine slows all alike. A ratio is of the same round's seconds. Plain tokens are counted in two ways: from the bare
prompt on, where they are cheapest, and where the continuations stand, as the last ones of whole answers (the seconds
of answers that long, less those of their beginnings): a token costs more the more there is to attend to.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np

from critica.benches.base import Bench, Order, say
from critica.benches.machine import machine_facts
from critica.functional.random import generator
from critica.recipes.config import apply_sets

if TYPE_CHECKING:
    from critica.policies.base import SampleRequest
    from critica.policies.language_model import LanguagePolicy

CEILING = 1.3
SIDES = {
    "plain": "samples of bare prompts",
    "shared": "continuations of one prefix a prompt, its keys and values shared",
    "unshared": "the same, each reading the prefix for itself",
    "along": "continuations of prefixes of growing length along each answer",
    "whole": "samples of bare prompts, as long as prefix and continuation together",
}
PAIRS = (
    ("shared", "plain", "continuations of one prefix a prompt", True),
    ("shared", "late", "the same, beside plain tokens at the same places", True),
    ("along", "plain", "continuations of prefixes spread along each answer", True),
    ("unshared", "plain", "continuations that each read their prefix anew", False),
)


@dataclass(frozen=True, slots=True)
class ContinuationsSettings:
    """`prefixes` x `continuations` rows of `new_tokens` each; `rounds` of all sides after one that is not counted.

    A prefix is `prompt_tokens` + `written_tokens` long. `along` takes `nodes` prefixes of each of prefixes / nodes
    answers, evenly spaced from the bare prompt to all of the answer.
    """

    policies: tuple[str, ...] = ("1m", "5m")
    prefixes: int = 16
    continuations: int = 8
    prompt_tokens: int = 16
    written_tokens: int = 32
    new_tokens: int = 32
    nodes: int = 4
    rounds: int = 6
    threads: int = 1

    def __post_init__(self) -> None:
        if min(self.prefixes, self.continuations, self.prompt_tokens, self.new_tokens, self.nodes, self.rounds) < 1:
            raise ValueError("every count must be at least 1")
        if self.prefixes % self.nodes:
            raise ValueError(f"prefixes={self.prefixes} is no multiple of nodes={self.nodes}")


@dataclass(frozen=True, slots=True)
class Reading:
    """One side of one round: seconds on the wall and of this process's processor time."""

    policy: str
    round: int
    side: str
    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """A side over plain sampling: medians over rounds of processor and wall time, and the quartiles of the former."""

    policy: str
    what: str
    beside: str
    promised: bool
    cpu: float
    low: float
    high: float
    wall: float
    read_tokens: int

    @property
    def kept(self) -> bool | None:
        """Whether the promise holds; None where nothing was promised."""
        return self.cpu <= CEILING if self.promised else None


def requests_of(settings: ContinuationsSettings, vocabulary: int) -> "dict[str, list[SampleRequest]]":
    """The same rows for every side: what differs is what has to be read before the first new token."""
    from critica.policies.base import SampleRequest

    count, rows = settings.prefixes, range(settings.continuations)
    size = (count, settings.prompt_tokens + settings.written_tokens)
    texts = [tuple(row) for row in generator(0, "benches/continuations").integers(3, vocabulary, size).tolist()]
    streams = [tuple((i, j) for j in rows) for i in range(count)]
    lengths = [settings.prompt_tokens + (i % settings.nodes) * settings.written_tokens // max(1, settings.nodes - 1)
               for i in range(count)]  # fmt: skip
    answers = [texts[i // settings.nodes * settings.nodes] for i in range(count)]
    return {
        "plain": [SampleRequest(t[: settings.prompt_tokens], s) for t, s in zip(texts, streams, strict=True)],
        "shared": [SampleRequest(t, s) for t, s in zip(texts, streams, strict=True)],
        "unshared": [SampleRequest(t, (one,)) for t, s in zip(texts, streams, strict=True) for one in s],
        "along": [SampleRequest(a[:n], s) for a, n, s in zip(answers, lengths, streams, strict=True)],
        "whole": [SampleRequest(t[: settings.prompt_tokens], s) for t, s in zip(texts, streams, strict=True)],
    }


def random_policy(size: str) -> "LanguagePolicy":
    """A policy of this size with random weights: every answer is as long as asked, so weights do not matter."""
    import torch

    from critica.benches.policies import SIZES
    from critica.policies.language_model import LanguagePolicy
    from critica.training.warm_start import PicoRecipe, build_model

    shape = SIZES[size]
    recipe = PicoRecipe(width=shape.width, layers=shape.layers, feed_forward=shape.feed_forward, vocabulary_size=259)
    torch.manual_seed(0)
    tokenizer = LanguagePolicy.load("pico", device="cpu").tokenizer
    return LanguagePolicy(build_model(recipe, len(tokenizer)).eval(), tokenizer)


def measured(name: str, settings: ContinuationsSettings) -> list[Reading]:
    """Every side in every round, the first round left out."""
    from critica.policies.base import SampleLimits

    policy = random_policy(name)
    asked = requests_of(settings, 259)
    steps = dict.fromkeys(SIDES, settings.new_tokens) | {"whole": settings.written_tokens + settings.new_tokens}
    readings = []
    for number in range(settings.rounds + 1):
        order = list(SIDES)[number % len(SIDES) :] + list(SIDES)[: number % len(SIDES)]
        for side in order:
            wall, cpu = perf_counter(), process_time()
            written = policy.sample(asked[side], SampleLimits(steps[side], 1.0, steps[side]), number)
            seconds = (perf_counter() - wall, process_time() - cpu)
            total = sum(len(sample.token_ids) for row in written for sample in row)
            assert total == settings.prefixes * settings.continuations * steps[side]
            if number:
                readings.append(Reading(name, number, side, *seconds))
    return readings


def ratios_of(readings: Sequence[Reading], settings: ContinuationsSettings) -> list[Ratio]:
    """Each pair's ratio in every round, summed up."""
    asked = requests_of(settings, 259)
    found = []
    for name in dict.fromkeys(reading.policy for reading in readings):
        table = {(r.side, r.round): np.array((r.cpu_seconds, r.wall_seconds)) for r in readings if r.policy == name}
        rounds = sorted({number for _, number in table})
        for number in rounds:  # written_tokens + new_tokens less written_tokens: what the late ones took
            begun = table["plain", number] * settings.written_tokens / settings.new_tokens
            table["late", number] = table["whole", number] - begun
        for side, beside, what, promised in PAIRS:
            ratios = np.array([table[side, number] / table[beside, number] for number in rounds])
            low, middle, high = np.quantile(ratios[:, 0], (0.25, 0.5, 0.75)).tolist()
            read = sum(len(request.prompt_ids) for request in asked[side])
            found.append(Ratio(name, what, beside, promised, middle, low, high, float(np.median(ratios[:, 1])), read))
    return found


def run_continuations(order: Order) -> Path:
    """Measure every policy, write continuations.json and continuations.md."""
    from critica.policies.numerics import configure

    settings = apply_sets(ContinuationsSettings(), order.settings, {})
    configure(settings.threads)
    readings: list[Reading] = []
    for name in settings.policies:
        readings += measured(name, settings)
        for ratio in ratios_of([reading for reading in readings if reading.policy == name], settings):
            say(f"  {name} {ratio.what}: {ratio.cpu:.2f} ({ratio.wall:.2f} on the wall)")
    return write(order, settings, readings)


def write(order: Order, settings: ContinuationsSettings, readings: Sequence[Reading]) -> Path:
    """The raw readings and the page."""
    machine, ratios = machine_facts(settings.threads), ratios_of(readings, settings)
    content = {
        "command": "critica bench continuations", "machine": machine, "settings": asdict(settings),
        "ratios": [asdict(ratio) for ratio in ratios], "readings": [asdict(reading) for reading in readings],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "continuations.json").write_text(json.dumps(content, indent=1) + "\n")
    verdict = {True: "pass", False: "FAIL", None: ""}
    rows = [
        f"| {ratio.policy} | {ratio.what} | {ratio.cpu:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) | {ratio.wall:.2f} |"
        f" {ratio.read_tokens} | {verdict[ratio.kept]} |"
        for ratio in ratios
    ]
    page = order.out / "continuations.md"
    page.write_text(
        "# What continuations cost\n\n"
        f"Made by `critica bench continuations`: {settings.prefixes} prefixes x {settings.continuations} rows, each"
        f" writes {settings.new_tokens} new tokens after a prompt of {settings.prompt_tokens} and"
        f" {settings.written_tokens} written tokens; spread along answers: {settings.nodes} prefixes of each. Beside"
        f" as many plain samples of as many new tokens in the same round: median (quartiles) of processor time and"
        f" median of wall time over {settings.rounds} rounds, {settings.threads} thread, random weights;"
        f" {machine['processor']}, commit {machine['commit']}. Promised: at most {CEILING} times.\n\n"
        "| policy | what | processor time | wall time | prefix tokens read | verdict |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\nPlain samples start at the bare prompt, where a token is cheapest; `at the same places` are the last"
        f" {settings.new_tokens} tokens of whole answers of {settings.written_tokens + settings.new_tokens}, which"
        " attend to as much as a continuation does. Prefixes of one answer do not share what they have in common: each"
        " is read from its start.\n"
    )
    return page


CONTINUATIONS = Bench(
    "continuations", "what going on from prefixes costs beside plain sampling", ContinuationsSettings, run_continuations
)
