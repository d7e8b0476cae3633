"""One run of the noise bench: trained in this process until its samples are drawn, measured as it goes."""

import time
from dataclasses import dataclass, field
from functools import cache

from critica.benches.noise_arms import Lengths, Run, recipe_of
from critica.benches.noise_mechanism import Mechanism, Seen, mechanism_of
from critica.benches.noise_mixes import MIXES
from critica.benches.pico_trial import HeldOutTasks, held_out_accuracy, held_out_tasks, run_in_memory
from critica.policies.base import Policy
from critica.records.run import StepRecord
from critica.rollout.gather import NothingGathered
from critica.training.interrupt import Interrupt
from critica.training.progress import Silent

# Runs of one edition are compared with each other whatever commit they were made at, so that the grid can be filled
# over several occasions. Raise it when a change of the code changes what a run with the same config would learn or
# how it is measured: the sampler, a reward, an optimizer, a critic of an arm, a default value of any part, the points
# or the mechanism.
EDITION = 1


@dataclass(frozen=True, slots=True)
class Point:
    """A run after `step` steps: samples drawn, CPU seconds of training so far, clean accuracy at temperature 1, and
    the mechanism over the steps since the point before."""

    step: int
    samples: int
    cpu_seconds: float
    accuracy: float
    mechanism: Mechanism = field(default_factory=Mechanism)


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished run. `points` begin at step 0; `greedy` is the last policy's accuracy.

    `own_outcome`: the critic's values had seen the outcome of the very answer, so that `explained` flatters it.
    `idle_after`: a recipe that turns groups away found none to learn from after so many samples, and its policy stayed
    as it was; None: it learned to the end.
    """

    edition: int
    signature: str
    mix: str
    noise: str
    arm: str
    seed: int
    learning_rate: float
    points: tuple[Point, ...]
    greedy: float
    own_outcome: bool
    commit: str
    idle_after: int | None = None

    @property
    def final(self) -> float:
        """Clean accuracy at temperature 1 with all samples drawn."""
        return self.points[-1].accuracy

    @property
    def area(self) -> float:
        """Mean accuracy over the samples drawn: the area under the curve by trapezoids."""
        pairs = list(zip(self.points, self.points[1:], strict=False))
        total = sum((b.samples - a.samples) * (a.accuracy + b.accuracy) / 2 for a, b in pairs)
        return total / (self.points[-1].samples - self.points[0].samples)


class Probe(Silent):
    """Told of each finished step, it looks into it, now and then measures the policy, and stops when all is drawn.

    A recipe that draws groups again pays for them: every sample counts, trained on or not. Its own seconds do not.
    """

    def __init__(self, policy: Policy, interrupt: Interrupt, lengths: Lengths, tasks: HeldOutTasks, start: float):
        self.policy, self.interrupt, self.lengths, self.tasks = policy, interrupt, lengths, tasks
        self.points = [Point(0, 0, 0.0, start)]
        self.own_outcome = False
        self.drawn, self.spent = 0, 0.0
        self.seen: list[Seen] = []
        self.mark = time.process_time()

    def step(self, record: StepRecord) -> None:
        self.spent += time.process_time() - self.mark
        before, self.drawn = self.drawn, self.drawn + sum(entry.kind == "sample" for entry in record.ledger)
        self.seen.append(Seen.of(record))
        self.own_outcome = self.own_outcome or record.values.uses_own_outcome
        lengths = self.lengths
        stride = lengths.every * lengths.prompts_per_step * lengths.samples_per_prompt
        if self.drawn >= lengths.samples:
            self.interrupt.asked = True
        if self.drawn >= lengths.samples or self.drawn // stride > before // stride or record.step == lengths.steps:
            found = held_out_accuracy(self.policy, self.tasks, 1.0)
            mechanism = mechanism_of(self.seen)
            self.points.append(Point(record.step, self.drawn, round(self.spent, 3), found, mechanism))
            self.seen = []
        self.mark = time.process_time()

    def end(self, policy: Policy) -> None:
        """A run that stopped learning before all was drawn stays where it is."""
        if self.points[-1].samples < self.lengths.samples:
            found = held_out_accuracy(policy, self.tasks, 1.0)
            step = self.points[-1].step
            self.points.append(Point(step, self.lengths.samples, round(self.spent, 3), found, mechanism_of(self.seen)))


@cache
def untrained_accuracy(mix: str, held_out: int) -> float:
    """Where every run on this mix starts."""
    from critica.policies.language_model import LanguagePolicy

    return held_out_accuracy(LanguagePolicy.load("pico"), held_out_tasks(MIXES[mix], held_out), 1.0)


def trial_of(signed: tuple[Run, str], lengths: Lengths, commit: str) -> Trial:
    """Train and measure a run; `signed` is it with its signature."""
    run, signature = signed
    tasks = held_out_tasks(MIXES[run.mix], lengths.held_out)
    start = untrained_accuracy(run.mix, lengths.held_out)
    probes: list[Probe] = []
    greedy: list[float] = []

    def watch(policy: Policy, interrupt: Interrupt) -> Probe:
        probes.append(Probe(policy, interrupt, lengths, tasks, start))
        return probes[0]

    def after(policy: Policy) -> None:
        greedy.append(held_out_accuracy(policy, tasks, 0.0))
        probes[0].end(policy)

    idle = None
    try:
        run_in_memory(recipe_of(run, lengths), watch, after)
    except NothingGathered:
        idle = probes[0].drawn
    return Trial(
        EDITION, signature, run.mix, run.noise, run.arm, run.seed, run.learning_rate,
        tuple(probes[0].points), greedy[0], probes[0].own_outcome, commit, idle,
    )  # fmt: skip


def warm_up() -> None:
    """Two short steps of PPO that nobody counts: what is built at first use is built."""
    from critica.policies.numerics import configure

    configure(1)
    trial_of((Run("worked", "none", "ppo", 0, 2e-4), ""), Lengths(2, 2, 2, 2, 4), "")
