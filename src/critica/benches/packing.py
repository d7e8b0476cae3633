"""The packing bench: forward and backward of a ragged batch, ours beside padding to the longest, in turns.

`ours` is what the learner does: rows sorted by length, prompts of siblings once, no padding inside. `padded` is
transformers' own forward over the rows as they come, padded to the longest of all. `ours padded` is our forward over
the same cells, every one of them valid: what packing alone is worth. Time is this process's processor time, so that a
busy machine slows all alike; every contender reads the head at the sampled tokens only.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import exp, log
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from critica.benches.base import Bench, Order, say
from critica.benches.machine import machine_facts
from critica.functional.statistics import mean_interval
from critica.recipes.config import apply_sets

if TYPE_CHECKING:
    from critica.policies.language_model import LanguagePolicy
    from critica.records.arrays import TokenBatch

PROMISED = 1.8
RAGGED = 0.4  # the promise is about batches whose mean length is at most this share of the longest
CONTENDERS = ("ours", "padded", "ours padded")


@dataclass(frozen=True, slots=True)
class PackingSettings:
    """`rounds` rounds over `rows` rows of at most `longest` tokens, `prompt` of them a prompt, `tokens` at once."""

    rounds: int = 7
    rows: int = 32
    longest: int = 256
    prompt: int = 24
    tokens: int = 8192
    vocabulary: int = 476
    widths: tuple[int, ...] = (128, 256)
    layers: int = 4
    groups: tuple[int, ...] = (1, 8)
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Contest:
    """One width and group size: seconds of each contender by round, and how far the gradients are apart.

    `mean_share` is the mean length over the longest. `gradient_errors`: of each other contender, the largest difference
    from ours in any weight's gradient, over that weight's largest one, in fp64 on a quarter of the rows.
    """

    width: int
    group: int
    parameters: int
    mean_share: float
    gradient_errors: dict[str, float]
    seconds: dict[str, list[float]]

    def ratio(self, other: str) -> tuple[float, float, float]:
        """Geometric mean over the rounds of `other` over ours, and its 95% interval."""
        logs = [log(b / a) for a, b in zip(self.seconds["ours"], self.seconds[other], strict=True)]
        found = mean_interval(logs)
        return exp(found.estimate), exp(found.low), exp(found.high)


def ragged_lengths(rows: int, longest: int, prompt: int, seed: int = 0) -> list[int]:
    """Lengths in random order; those of the answers lie at even quantiles of a lognormal law with sigma 0.6."""
    import torch

    levels = (torch.arange(rows) + 0.5) / rows
    drawn = (torch.special.ndtri(levels) * 0.6).exp()
    answers = (drawn / drawn.max() * (longest - prompt)).round().long().clamp(min=1) + prompt
    return answers[torch.randperm(rows, generator=torch.Generator().manual_seed(seed))].tolist()


def run_packing(order: Order) -> Path:
    """Measure every width and group size, write packing.json and packing.md."""
    from critica.policies.numerics import configure

    settings = apply_sets(PackingSettings(), order.settings, {})
    configure(settings.threads)
    found = []
    for width in settings.widths:
        for group in settings.groups:
            found.append(contest(settings, width, group))
            say(f"  width {width}, groups of {group}: {found[-1].ratio('padded')[0]:.2f}x")
    return write(order, settings, found)


def contest(settings: PackingSettings, width: int, group: int) -> Contest:
    """Contenders in turns, after one round that is not counted."""
    import torch

    from critica.benches.random_policy import random_batch, random_policy
    from critica.policies.numerics import training_matmuls

    lengths = ragged_lengths(settings.rows, settings.longest, settings.prompt)
    batch = random_batch(lengths, [settings.prompt] * len(lengths), settings.vocabulary, group=group)
    policy = random_policy(settings.vocabulary, width, settings.layers, settings.longest)
    passes = passes_of(policy, batch, settings.tokens)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with training_matmuls():
        for number in range(settings.rounds + 1):
            for name in CONTENDERS:
                policy.model.zero_grad()
                start = time.process_time()
                passes[name]()
                if number:
                    seconds[name].append(time.process_time() - start)
    few = random_batch(lengths[: settings.rows // 4], [settings.prompt] * (settings.rows // 4), settings.vocabulary)
    exact = random_policy(settings.vocabulary, width, settings.layers, settings.longest, torch.float64)
    errors = gradient_errors(exact, passes_of(exact, few, settings.tokens // 4))
    size = sum(weight.numel() for weight in policy.model.parameters())
    return Contest(width, group, size, sum(lengths) / len(lengths) / max(lengths), errors, seconds)


def passes_of(policy: "LanguagePolicy", batch: "TokenBatch", tokens: int) -> dict[str, Callable[[], None]]:
    """Forward and backward of the summed log-probs of every sampled token, in each way."""
    from dataclasses import replace

    import torch

    from critica.functional.logprobs import states_before
    from critica.policies.batching import microbatches
    from critica.policies.families import base_model
    from critica.policies.scoring import logprobs_of

    trunk: Any = base_model(policy.model).base_model  # its stub takes it for a tensor

    def ours() -> None:
        for rows in microbatches(batch, torch.arange(batch.rows), tokens):
            piece = batch.select(rows)
            mask = piece.sampled_mask
            states = policy.sampled_states(piece)
            logprobs_of(policy, states, piece.token_ids[mask], piece.temperature[mask]).sum().backward()

    def slices() -> list[torch.Tensor]:
        return list(torch.arange(batch.rows).split(max(1, tokens // batch.token_ids.shape[1])))

    def padded() -> None:
        for rows in slices():
            ids, valid, sampled = batch.token_ids[rows], batch.valid_mask[rows], batch.sampled_mask[rows]
            hidden = trunk(input_ids=ids, attention_mask=valid.long(), use_cache=False).last_hidden_state
            states = states_before(hidden, sampled)
            logprobs_of(policy, states, ids[sampled], batch.temperature[rows][sampled]).sum().backward()

    def ours_padded() -> None:
        width = batch.token_ids.shape[1]
        everything = torch.ones_like(batch.valid_mask)
        full = replace(
            batch, valid_mask=everything, group_index=torch.arange(batch.rows),
            turn_index=torch.where(batch.turn_index < 0, 1, batch.turn_index),
            sampled_mask=torch.arange(width)[None, :] >= batch.prefix_length[:, None],
        )  # fmt: skip
        for rows in slices():
            piece = full.select(rows)
            kept = batch.sampled_mask[rows][piece.sampled_mask]
            states = policy.sampled_states(piece)[kept]
            mask = batch.sampled_mask[rows]
            ids = batch.token_ids[rows][mask]
            logprobs_of(policy, states, ids, batch.temperature[rows][mask]).sum().backward()

    return {"ours": ours, "padded": padded, "ours padded": ours_padded}


def gradient_errors(policy: "LanguagePolicy", passes: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Of each other contender, the largest difference from ours of any weight's gradient, over its largest entry."""
    found = {}
    for name, run in passes.items():
        policy.model.zero_grad()
        run()
        found[name] = {n: w.grad.clone() for n, w in policy.model.named_parameters() if w.grad is not None}
    return {
        other: max(
            float((found["ours"][n] - found[other][n]).abs().max() / found[other][n].abs().max()) for n in found["ours"]
        )
        for other in CONTENDERS[1:]
    }


def write(order: Order, settings: PackingSettings, found: list[Contest]) -> Path:
    """The raw readings and the page."""
    machine = machine_facts(settings.threads)
    content = {
        "command": "critica bench packing", "machine": machine, "settings": asdict(settings),
        "contests": [
            {**asdict(one), "ratios": {name: one.ratio(name) for name in CONTENDERS[1:]}} for one in found
        ],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "packing.json").write_text(json.dumps(content, indent=1) + "\n")
    page = order.out / "packing.md"
    page.write_text(
        "# What packing ragged rows is worth\n\n"
        f"Made by `critica bench packing`: {settings.rows} rows of at most {settings.longest} tokens, {settings.prompt}"
        f" of them a prompt; forward and backward of a Qwen3 with {settings.layers} layers and random weights,"
        f" processor time on {machine['processor']}, threads {settings.threads}, fp32, commit {machine['commit']}."
        f" Contenders take turns; ratios are geometric means over {settings.rounds} rounds with 95% intervals."
        f" Promised: at least {PROMISED:g}x over transformers' padded forward where the mean length is at most"
        f" {RAGGED:g} of the longest and no prompt is shared. Gradients: against transformers' forward, whose norms"
        " compute in fp32, and against our own over padded rows.\n\n"
        "| width | parameters | rows of a prompt | mean / longest | ours, s | padded / ours | | our forward, padded /"
        " ours | gradients differ by (fp64) |\n|---|---|---|---|---|---|---|---|---|\n" + "".join(map(row, found))
    )
    return page


def row(one: Contest) -> str:
    """One line of the table."""
    padded, own = (_interval(one.ratio(name)) for name in CONTENDERS[1:])
    bound = one.group == 1 and one.mean_share <= RAGGED
    errors = " / ".join(f"{one.gradient_errors[name]:.0e}" for name in CONTENDERS[1:])
    mark = ("pass" if one.ratio("padded")[0] >= PROMISED else "FAIL") if bound else ""
    return (
        f"| {one.width} | {one.parameters:,} | {one.group} | {one.mean_share:.2f} | {median(one.seconds['ours']):.2f} |"
        f" {padded} | {mark} | {own} | {errors} |\n"
    )


def _interval(ratio: tuple[float, float, float]) -> str:
    middle, low, high = ratio
    return f"**{middle:.2f}** [{low:.2f}, {high:.2f}]"


PACKING = Bench(
    "packing", "forward and backward of ragged rows, packed and padded", PackingSettings, run_packing,
    ("rounds=1", "rows=8", "longest=48", "prompt=6", "widths=[64]", "layers=1", "groups=[1]"),
)  # fmt: skip
