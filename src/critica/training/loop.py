"""The one training loop: the algorithm box, in its order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

from critica.critics.base import Trainable
from critica.evaluation.measure import measure
from critica.recipes.base import Recipe
from critica.records.arrays import Metric
from critica.records.run import Progress, StageSeconds, StepRecord
from critica.records.words import Task
from critica.rollout.gather import Supervision, gather
from critica.rollout.place import place
from critica.rollout.tokenize import tokenize
from critica.store.run_folder import RunFolder
from critica.training.books import close_books
from critica.training.interrupt import Interrupt
from critica.training.learner import Learner, Lesson
from critica.training.progress import Reporter
from critica.training.saving import Saver
from critica.training.state import TrainingState


@dataclass(frozen=True, slots=True)
class Parts:
    """The live objects of a run."""

    state: TrainingState
    supervision: Supervision
    learner: Learner
    store: RunFolder
    saver: Saver
    reporter: Reporter


class Clock:
    """Seconds by stage: no part of a run's identity."""

    def __init__(self) -> None:
        self.readings: list[StageSeconds] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.readings.append(StageSeconds(name, perf_counter() - start))


def run_loop(recipe: Recipe, parts: Parts, progress: Progress, interrupt: Interrupt) -> Progress:
    """Train from `progress.step + 1` to `recipe.steps`; stops early, with a checkpoint, when asked to."""
    state, learner = parts.state, parts.learner
    while progress.step < recipe.steps and not interrupt.asked:
        step, clock = progress.step + 1, Clock()
        request = state.curriculum.next(step)
        with clock.stage("gather"):
            gathered = gather(state.policy, state.curriculum, parts.supervision, recipe.admission, request)
        with clock.stage("observe"):
            batch = tokenize(gathered.groups)
            evidence = state.observer.observe(gathered.groups, batch)
            source = parts.supervision.source
            told = place(gathered.rewards, batch, evidence, recipe.placement, source.low, source.high)
        with clock.stage("predict"):
            values = state.critic.predict(batch, told, evidence)
        with clock.stage("estimate"):
            credit = recipe.advantage.estimate(batch, told, values, evidence)
            learns = isinstance(state.critic, Trainable)
            targets = recipe.target.build(batch, told, values) if learns else None
        with clock.stage("update"):
            lesson = Lesson(batch, credit, targets, values, evidence)
            reports = learner.update(lesson, request.stage, step)
        with clock.stage("measure"):
            ledger = close_books(gathered, batch, credit, request.stage)
            panel = measure(
                batch, gathered.rewards, told, values, credit, reports,
                ledger=ledger, sources=[source_of(g.task) for g in gathered.groups for _ in g.trajectories],
            )  # fmt: skip
        progress = advanced(progress, step, panel.metrics, state.policy.version, len(gathered.groups))
        with clock.stage("append"):
            record = StepRecord(
                step, gathered.groups, gathered.rewards, told, values, credit, batch, panel.metrics,
                state.policy.token_texts(batch), ledger, tuple(clock.readings),
            )  # fmt: skip
            parts.store.append(step, record)
            parts.saver.after(progress, last=step == recipe.steps or interrupt.asked)
        parts.reporter.step(record)
    parts.saver.now(progress)  # Ctrl-C may have come after the last step had decided not to save
    return progress


def source_of(task: Task) -> str:
    """The data set that a mix drew this task from, or the environment itself."""
    return str(task.info.get("dataset", task.environment))


def advanced(progress: Progress, step: int, metrics: tuple[Metric, ...], version: int, prompts: int) -> Progress:
    """What a resume must know after this step."""
    read = {metric.name: metric for metric in metrics}
    sampled = read["tokens/sampled"]
    rows = read["length/mean"].count
    return replace(
        progress,
        step=step,
        policy_version=version,
        prompts=progress.prompts + prompts,
        samples=progress.samples + int(rows),
        sampled_tokens=progress.sampled_tokens + int(sampled.total),
    )
