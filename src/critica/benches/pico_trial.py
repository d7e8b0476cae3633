"""What benches that train pico many times share: scoring in this process, kept held-out tasks, whole runs in memory."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import cast

from critica.environments.base import Environment, EnvironmentConfig
from critica.evaluation.outcome import evaluate_policy
from critica.policies.base import Policy
from critica.recipes.base import Recipe
from critica.records.supervision import Outcome, Scored
from critica.records.words import Task
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.workers import WorkerLimits
from critica.training.held_out import EVALUATION_SEED, HELD_OUT_SEED
from critica.training.interrupt import Interrupt
from critica.training.progress import Reporter

PICO = Path(__file__).parents[1] / "assets" / "pico" / "model.safetensors"


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
def held_out_tasks(environment: Callable[[], EnvironmentConfig], count: int) -> HeldOutTasks:
    """The same for all runs; `environment` makes the tasks' settings."""
    return HeldOutTasks(environment().build(HELD_OUT_SEED), count)


def held_out_accuracy(policy: Policy, tasks: HeldOutTasks, temperature: float) -> float:
    """Clean accuracy on these prompts, one answer each, with the same dice for every policy."""
    count = len(tasks.kept)
    return evaluate_policy(
        policy, tasks, count, 1, temperature, EVALUATION_SEED, prompts_per_batch=count
    ).accuracy.estimate


def run_in_memory(
    recipe: Recipe, watch: Callable[[Policy, Interrupt], Reporter], after: Callable[[Policy], None]
) -> None:
    """Train in this process, into a folder that is thrown away. `watch` makes who is told of each finished step; it
    may ask the interrupt to stop. `after` is shown the last policy.

    Raises `NothingGathered` once a recipe that turns groups away has turned away all: `after` was shown that policy.
    """
    from critica.policies.numerics import training_matmuls
    from critica.records.run import Progress
    from critica.store.run_folder import RunFolder
    from critica.training.assemble import assemble
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
        interrupt = Interrupt()
        reporter = watch(assembly.state.policy, interrupt)
        try:
            run_loop(recipe, equip(recipe, assembly, store, reporter), Progress(), interrupt)
        finally:
            after(assembly.state.policy)
