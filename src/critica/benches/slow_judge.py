"""The slow judge bench: what a judge that takes its time costs a training step beyond its own critical path.

A delay server on loopback answers each question after so many seconds. The same run is done with no delay and with
it: the judge says the same, so the two write the same tokens, and a step of one differs from the same step of the
other by the waiting alone. Critical path of a step: the undelayed step, and as many delays as its questions have waves
of `concurrency`. The judge begins as answers end; what that is worth is measured in `slow_judge_overlap`.
"""

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from critica.benches.base import Bench, Order, say
from critica.benches.machine import machine_facts
from critica.benches.slow_judge_overlap import Overlap, measure
from critica.environments.arithmetic import Arithmetic
from critica.recipes.base import Checkpoints, Recipe, Safety, Sampling
from critica.recipes.catalogue import RECIPES
from critica.recipes.config import apply_sets
from critica.rewards.judge_base import Asking
from critica.rewards.judge_criteria import Criterion
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_reward import JudgeReward
from critica.rewards.judge_server import JudgeServer
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.workers import WorkerLimits
from critica.training.progress import Silent

if TYPE_CHECKING:
    from critica.records.run import StepRecord

CEILING = 1.1
SHOWN = (
    "questions", "undelayed_seconds", "after_seconds", "after_ratio", "critical_seconds", "seconds", "ratio", "share"
)  # fmt: skip
RIGHT = Criterion("right", "Is the final number right?")


@dataclass(frozen=True, slots=True)
class SlowJudgeSettings:
    """`steps` of prompts x samples answers, judged with each bound of `concurrency`; the first step is not counted.

    `token_seconds` is the pace at which answers are written where judging overlaps writing.
    """

    delay_seconds: float = 2.0
    concurrency: tuple[int, ...] = (8, 32)
    prompts: int = 4
    samples: int = 8
    steps: int = 5
    seed: int = 0
    token_seconds: float = 0.3

    def __post_init__(self) -> None:
        if self.delay_seconds <= 0 or self.token_seconds < 0:
            raise ValueError("delay_seconds must be above 0, and token_seconds not negative")
        if self.steps < 2 or min(self.concurrency, default=0) < 1:
            raise ValueError("steps must be at least 2, and every concurrency at least 1")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: when it was done, in seconds since the run began, and how many questions were asked until then."""

    end: float
    questions: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One step with the delay beside the same step without it."""

    concurrency: int
    step: int
    questions: int
    undelayed_seconds: float
    waiting_seconds: float  # waves of questions times the delay
    seconds: float

    @property
    def ratio(self) -> float:
        """Seconds over the critical path."""
        return self.seconds / (self.undelayed_seconds + self.waiting_seconds)


class Watch(Silent):
    """Notes when each step is done."""

    def __init__(self, server: JudgeServer) -> None:
        self.server, self.start, self.steps = server, perf_counter(), [Step(0.0, 0)]

    def step(self, record: "StepRecord") -> None:
        self.steps.append(Step(perf_counter() - self.start, len(self.server.seen)))


def recipe_of(settings: SlowJudgeSettings, url: str, concurrency: int) -> Recipe:
    """GRPO on worked arithmetic, told what the judge at this address says."""
    return replace(
        RECIPES["grpo"], name="slow_judge", environment=Arithmetic(1, max_new_tokens=24),
        reward=reward_of(settings, url, concurrency),
        sampling=Sampling(settings.prompts, settings.samples), steps=settings.steps, seed=settings.seed, threads=1,
        checkpoint=Checkpoints(every=10**6, keep=1), safety=Safety(rehearsal=False),
    )  # fmt: skip


def reward_of(settings: SlowJudgeSettings, url: str, concurrency: int) -> JudgeReward:
    """The judge at this address, asked so much at once."""
    asking = Asking(concurrency=concurrency, batch_seconds=3600.0, call_seconds=60.0 + settings.delay_seconds)
    return JudgeReward(HttpJudge(url, "scripted"), (RIGHT,), asking=asking)


def run_once(settings: SlowJudgeSettings, delay: float, concurrency: int, place: Path) -> list[Step]:
    """Every step's end of one run; the first entry is its beginning."""
    from critica.training.run import train

    judge = ScriptedJudge(delay_seconds=delay).build(Arithmetic(1).build(settings.seed), WorkerLimits())
    with JudgeServer(judge) as server:
        watch = Watch(server)
        train(recipe_of(settings, server.url, concurrency), place, reporter=lambda steps, done: watch)
    judge.close()
    return watch.steps


def compare(quick: list[Step], slow: list[Step], settings: SlowJudgeSettings, concurrency: int) -> list[Reading]:
    """Step by step. Raises ValueError if the two runs did not ask the same."""
    if [step.questions for step in quick] != [step.questions for step in slow]:
        raise ValueError("the run with the delay asked other questions than the one without: nothing can be compared")
    readings = []
    for number in range(2, len(slow)):
        asked = slow[number].questions - slow[number - 1].questions
        waiting = math.ceil(asked / concurrency) * settings.delay_seconds
        seconds = [run[number].end - run[number - 1].end for run in (quick, slow)]
        readings.append(Reading(concurrency, number, asked, seconds[0], waiting, seconds[1]))
    return readings


def run_slow_judge(order: Order) -> Path:
    """Both runs for every bound, then slow_judge.json and slow_judge.md."""
    settings = apply_sets(SlowJudgeSettings(), order.settings, {})
    readings: list[Reading] = []
    with tempfile.TemporaryDirectory() as folder:
        for concurrency in settings.concurrency:
            quick, slow = (
                run_once(settings, delay, concurrency, Path(folder) / f"{concurrency}-{name}")
                for name, delay in (("quick", 0.0), ("slow", settings.delay_seconds))
            )
            readings += compare(quick, slow, settings, concurrency)
            ratio = median(reading.ratio for reading in readings if reading.concurrency == concurrency)
            say(f"  {concurrency} at once: {ratio:.3f} of the critical path")
    sizes = (settings.prompts, settings.samples, settings.steps, settings.seed)
    overlaps: list[Overlap] = []
    for concurrency in settings.concurrency:
        part_of = partial(reward_of, settings)
        overlaps += measure(part_of, settings.delay_seconds, concurrency, settings.token_seconds, sizes)
        share = median(one.share for one in overlaps if one.concurrency == concurrency)
        say(f"  {concurrency} at once, as answers end: {share:.3f} of judging afterwards")
    return write(order, settings, readings, overlaps)


def write(order: Order, settings: SlowJudgeSettings, readings: list[Reading], overlaps: Sequence[Overlap]) -> Path:
    """The raw readings and the page."""
    machine = machine_facts(1)
    content = {
        "command": "critica bench slow_judge", "machine": machine, "settings": asdict(settings),
        "ceiling": CEILING, "readings": [asdict(reading) for reading in readings],
        "overlaps": [asdict(overlap) for overlap in overlaps],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "slow_judge.json").write_text(json.dumps(content, indent=1) + "\n")
    rows = []
    for concurrency in settings.concurrency:
        own = [reading for reading in readings if reading.concurrency == concurrency]
        middle = [
            median(getattr(reading, name) for reading in own)
            for name in ("questions", "undelayed_seconds", "waiting_seconds", "seconds", "ratio")
        ]
        shown = f"{middle[0]:.0f} | {middle[1]:.2f} | {middle[2]:.2f} | {middle[3]:.2f} | {middle[4]:.3f}"
        rows.append(f"| {concurrency} | {shown} | {'pass' if middle[4] <= CEILING else 'FAIL'} |")
    page = order.out / "slow_judge.md"
    page.write_text(
        "# What a slow judge costs a step\n\n"
        f"Made by `critica bench slow_judge`: {settings.steps - 1} steps of {settings.prompts} prompts x"
        f" {settings.samples} answers of the shipped policy on worked arithmetic, judged over loopback by a server that"
        f" takes {settings.delay_seconds:g} s for each answer; medians over steps, seed {settings.seed},"
        f" {machine['processor']}, commit {machine['commit']}. Waiting is the number of waves of questions times the"
        f" delay; promised: a step takes at most {CEILING} of the step without a delay and the waiting together. Equal"
        " answers to a prompt are asked about once.\n\n"
        "| at once | questions | step without delay, s | waiting, s | step, s | ratio | |\n"
        + "|---" * 7
        + "|\n"
        + "\n".join(rows)
        + "\n\nJudging begins as answers end, so the ratio may be below 1: writing lies under the first wave in part.\n"
        + overlap_page(settings, overlaps)
    )
    return page


def overlap_page(settings: SlowJudgeSettings, overlaps: Sequence[Overlap]) -> str:
    """The part of the page about beginning early."""
    rows = []
    for concurrency in settings.concurrency:
        own = [overlap for overlap in overlaps if overlap.concurrency == concurrency]
        q, quick, after, after_ratio, path, seconds, ratio, share = (
            median(getattr(one, name) for one in own) for name in SHOWN
        )
        rows.append(
            f"| {concurrency} | {q:.0f} | {quick:.2f} | {after:.2f} | {after_ratio:.3f} | {path:.2f} | {seconds:.2f} |"
            f" {ratio:.3f} | {'pass' if ratio <= CEILING else 'FAIL'} | {share:.3f} |"
        )
    return (
        "\n## As answers end, or afterwards\n\n"
        f"The same answers at a pace of {settings.token_seconds:g} s for each token (a larger policy's), gathered and"
        " judged three times: without the delay, with it after all are written, and with it as they end. What was told"
        " is the same in all three. Judged as they end, the critical path is a schedule: each question from when its"
        " answer ends, so many open at once; judged afterwards, the round without delay and the waves.\n\n"
        "| at once | questions | round without delay, s | judged afterwards, s | ratio | critical path as they end, s |"
        " judged as they end, s | ratio | | of afterwards |\n" + "|---" * 10 + "|\n" + "\n".join(rows) + "\n"
    )


SLOW_JUDGE = Bench(
    "slow_judge", "what a slow judge costs a step beyond its critical path", SlowJudgeSettings, run_slow_judge,
    ("delay_seconds=0.5", "concurrency=[8]", "steps=3", "token_seconds=0.1"),
)  # fmt: skip
