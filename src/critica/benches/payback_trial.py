"""One run of the payback bench: trained in this process, measured on the same held-out prompts as it goes."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import cast

from critica.environments.base import Environment
from critica.environments.catalogue import pico
from critica.evaluation.outcome import evaluate_policy
from critica.policies.base import Policy
from critica.recipes.base import Recipe
from critica.records.run import StepRecord
from critica.records.supervision import Outcome, Scored
from critica.records.words import Task
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.workers import WorkerLimits
from critica.training.held_out import EVALUATION_SEED, HELD_OUT_SEED
from critica.training.progress import Silent


@dataclass(frozen=True, slots=True)
class Point:
    """A run after `step` steps: samples drawn, CPU seconds of training so far, accuracy at temperature 1."""

    step: int
    samples: int
    cpu_seconds: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished run. `points` begin at step 0; `greedy` is the last policy's accuracy."""

    noise: str
    arm: str
    samples_per_prompt: int
    seed: int
    points: tuple[Point, ...]
    greedy: float

    @property
    def key(self) -> tuple[str, int, str, int]:
        """(noise, seed, arm, samples a prompt)."""
        return self.noise, self.seed, self.arm, self.samples_per_prompt


class HeldOutTasks(Environment):
    """The environment with its held-out tasks kept: making them takes as long as answering them."""

    def __init__(self, inner: Environment, count: int) -> None:
        self.inner, self.kept = inner, list(inner.held_out(count))
        self.name, self.seed, self.reward_range = inner.name, inner.seed, inner.reward_range
        self.max_new_tokens = inner.max_new_tokens

    def candidate(self, index: int) -> Task:
        return self.inner.candidate(index)

    def held_out(self, count: int) -> list[Task]:
        return self.kept[:count]

    def score(self, task: Task, text: str) -> float:
        return self.inner.score(task, text)


@dataclass(frozen=True)
class InProcess(RewardConfig):
    """The environment's scorer, right or wrong, in this process: workers that start anew for each run cost as much as
    the run. The pico tasks' scorer is trusted and quick; code that is not belongs in workers."""

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "InProcessSource":  # noqa: B008
        return InProcessSource(environment)


class InProcessSource:
    """Scores at once."""

    low, high = 0.0, 1.0
    busy_workers, waiting_for, warnings = 0, "", ()

    def __init__(self, environment: Environment) -> None:
        self.environment, self.name = environment, f"{environment.name} scorer"

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        right = (self.environment.is_correct(self.environment.score(item.task, item.text)) for item in items)
        return [Scored(float(one)) for one in right]

    def close(self) -> None:
        return None


@cache
def held_out_tasks(count: int) -> HeldOutTasks:
    """The same for all runs."""
    return HeldOutTasks(pico().build(HELD_OUT_SEED), count)


def accuracy(policy: Policy, prompts: int, temperature: float) -> float:
    """Clean accuracy on the held-out prompts, one answer each, with the same dice for every policy."""
    return evaluate_policy(
        policy, held_out_tasks(prompts), prompts, 1, temperature, EVALUATION_SEED, prompts_per_batch=prompts
    ).accuracy.estimate


@cache
def untrained_accuracy(prompts: int) -> float:
    """Where every run starts."""
    from critica.policies.language_model import LanguagePolicy

    return accuracy(LanguagePolicy.load("pico"), prompts, 1.0)


class Probe(Silent):
    """Told of each finished step, it counts the CPU seconds since the last and now and then measures the policy.

    Its own seconds are not counted.
    """

    def __init__(self, policy: Policy, recipe: Recipe, every: int, prompts: int) -> None:
        self.policy, self.recipe, self.every, self.prompts = policy, recipe, every, prompts
        self.points = [Point(0, 0, 0.0, untrained_accuracy(prompts))]
        self.spent = 0.0
        self.mark = time.process_time()

    def step(self, record: StepRecord) -> None:
        self.spent += time.process_time() - self.mark
        if record.step % self.every == 0 or record.step == self.recipe.steps:
            sampling = self.recipe.sampling
            drawn = record.step * sampling.prompts_per_step * sampling.samples_per_prompt
            found = accuracy(self.policy, self.prompts, 1.0)
            self.points.append(Point(record.step, drawn, round(self.spent, 4), found))
        self.mark = time.process_time()


def train(recipe: Recipe, every: int, prompts: int) -> tuple[tuple[Point, ...], float]:
    """(points along the run, greedy accuracy at its end). CPU seconds are this process's: sampling, scoring, critic,
    update and bookkeeping, but neither evaluation nor the making of models and the last checkpoint."""
    from critica.policies.numerics import training_matmuls
    from critica.records.run import Progress
    from critica.store.run_folder import RunFolder
    from critica.training.assemble import assemble
    from critica.training.interrupt import Interrupt
    from critica.training.loop import run_loop
    from critica.training.parts import equip
    from critica.training.rates import with_rates
    from critica.training.run import manifest_of

    recipe = with_rates(recipe)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        assembly = assemble(replace(recipe, reward=InProcess()))
        stack.callback(assembly.close)
        made = RunFolder.create(Path(place) / "run", manifest_of(recipe, assembly.environment.name), "# a benchmark\n")
        store = cast(RunFolder, stack.enter_context(made))
        stack.enter_context(training_matmuls())
        probe = Probe(assembly.state.policy, recipe, every, prompts)
        run_loop(recipe, equip(recipe, assembly, store, probe), Progress(), Interrupt())
        return tuple(probe.points), accuracy(assembly.state.policy, prompts, 0.0)
