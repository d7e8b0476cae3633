"""The one training loop: the algorithm box, in its order."""

from functools import partial

from critica.critics.base import Trainable
from critica.evaluation.measure import measure
from critica.policies.body_mode import device_of
from critica.recipes.base import Recipe
from critica.records.devices import HOST, moved
from critica.records.evidence import Evidence
from critica.records.run import Progress, StepRecord
from critica.records.words import Task
from critica.rollout.continuations import Continuer
from critica.rollout.gather import gather
from critica.rollout.place import place
from critica.rollout.tokenize import tokenize
from critica.training.books import advanced, close_books
from critica.training.guard import no_credit, no_targets, nothing_expected
from critica.training.interrupt import Interrupt
from critica.training.lesson import Lesson
from critica.training.parts import Parts
from critica.training.streams import seed_step


def run_loop(recipe: Recipe, parts: Parts, progress: Progress, interrupt: Interrupt) -> Progress:
    """Train from `progress.step + 1` to `recipe.steps`; stops early, with a checkpoint, when asked to."""
    state, learner, guard, clock = parts.state, parts.learner, parts.guard, parts.clock
    learns, outcomes_only = isinstance(state.critic, Trainable), recipe.placement.without_models()
    while progress.step < recipe.steps and not interrupt.asked:
        step = progress.step + 1
        clock.begin(step)
        guard.begin()
        seed_step(recipe.seed, step)
        request = state.curriculum.next(step)
        with clock.stage("gather"):
            gathered = gather(
                parts.writer, state.curriculum, parts.supervision, recipe.admission, request, state.control,
                parts.allocator, parts.turns,
            )  # fmt: skip
            batch = guard.sampled(moved(tokenize(gathered.groups), device_of(state.policy.model)))
        with clock.stage("observe"):
            further = Continuer(
                state.policy, parts.supervision, request, recipe.placement.overlong, gathered.groups, batch
            )
            observed = partial(state.observer.observe, gathered.groups, batch, further)
            evidence = guard.attempt("observe", observed, Evidence)
        with clock.stage("place"):
            placed = partial(place, gathered.rewards, batch, declared=parts.declared)
            expect = partial(state.critic.predict, batch, evidence=evidence)
            told = guard.attempt(
                "place", partial(placed, evidence, recipe.placement, expect=expect, step=step),
                partial(placed, Evidence(), outcomes_only),
            )  # fmt: skip
        with clock.stage("predict"):
            predicted = partial(state.critic.predict, batch, told, evidence)
            values = guard.attempt("predict", predicted, partial(nothing_expected, batch))
        with clock.stage("estimate"):
            estimated = partial(recipe.advantage.estimate, batch, told, values, evidence)
            credit = guard.attempt("estimate", estimated, partial(no_credit, batch))
            built = partial(recipe.target.build, batch, told, values) if learns else no_targets
            targets = guard.attempt("estimate", built, no_targets)
        with clock.stage("update"):
            lesson = Lesson(batch, told, credit, targets, values, evidence)
            reports = guard.attempt("update", partial(learner.update, lesson, request.stage, step), tuple)
        batch, told, values, credit = moved((batch, told, values, credit), HOST)
        with clock.stage("measure"):
            ledger = close_books(gathered, batch, credit, request.stage, guard.skipped(learner.applied))
            reported = (*reports, *gathered.reports, *further.reports(), guard.metric())
            panel = measure(
                batch, gathered.rewards, told, values, credit, reported,
                ledger=ledger, sources=[source_of(g.task) for g in gathered.groups for _ in g.trajectories],
            )  # fmt: skip
        state.curriculum.feedback(panel.metrics)
        progress = advanced(progress, step, panel.metrics, state.policy.version, ledger, guard.bad is not None)
        with clock.stage("append"):
            record = StepRecord(
                step, gathered.groups, gathered.rewards, told, values, credit, batch, panel.metrics,
                state.policy.token_texts(batch), ledger, clock.readings,
            )  # fmt: skip
            parts.store.append(step, record)
            parts.poison.after(record, guard.bad, progress)
            parts.examiner.after(progress)
            parts.saver.after(progress, last=step == recipe.steps or interrupt.asked)
        parts.reporter.step(record)
    parts.saver.now(progress)  # Ctrl-C may have come after the last step had decided not to save
    return progress


def source_of(task: Task) -> str:
    """The data set that a mix drew this task from, or the environment itself."""
    return str(task.info.get("dataset", task.environment))
