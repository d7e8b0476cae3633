"""The live objects that a run's loop works with, put together from a recipe's assembly and a run folder."""

from dataclasses import dataclass, replace
from functools import partial

from critica.policies.base import Policy
from critica.recipes.base import Recipe
from critica.records.journal import Journal
from critica.records.supervision import Scale
from critica.rewards.base import scales_of
from critica.rollout.budget import Allocator
from critica.rollout.gather import Supervision
from critica.rollout.protocol import Turns
from critica.store.run_folder import RunFolder
from critica.training.assemble import Assembly
from critica.training.clock import Clock
from critica.training.evolution import EvolutionLearner
from critica.training.examiner import Examiner
from critica.training.guard import Guard
from critica.training.held_out import evaluate_both
from critica.training.learner import Learner
from critica.training.poison import Poison
from critica.training.progress import Reporter
from critica.training.saved_recipe import config_text
from critica.training.saving import Saver
from critica.training.state import TrainingState


@dataclass(frozen=True, slots=True)
class Bounds:
    """What training may be told, at least and at most: in all, and on each objective."""

    low: float
    high: float
    scales: tuple[Scale, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """The live objects of a run."""

    state: TrainingState
    supervision: Supervision
    allocator: Allocator
    declared: Bounds
    learner: Learner | EvolutionLearner
    writer: Policy
    turns: Turns | None
    store: RunFolder
    saver: Saver
    poison: Poison
    reporter: Reporter
    guard: Guard
    clock: Clock
    examiner: Examiner


def equip(
    recipe: Recipe, assembly: Assembly, store: RunFolder, reporter: Reporter, journal: Journal | None = None
) -> Parts:
    """Parts that write to this run folder; `journal` in place of the folder's own, and then nothing is examined."""
    checkpoints = replace(store.checkpoints, keep=recipe.checkpoint.keep)
    saver = Saver(
        checkpoints, assembly.state, recipe.checkpoint.every, recipe.checkpoint.background,
        store.manifest.run_id, config_text(recipe),
    )  # fmt: skip
    supervision = replace(assembly.supervision, journal=journal or store.journal)
    poison = Poison(store, saver, recipe.safety)
    scales = recipe.told_scales(scales_of(assembly.source))
    declared = Bounds(*recipe.told_range(scales_of(assembly.source)), scales)
    return Parts(
        assembly.state, supervision, assembly.allocator, declared, assembly.learner, assembly.writer, assembly.turns,
        store, saver, poison, reporter, Guard(), Clock(), examiner_of(recipe, assembly, store, journal is None),
    )  # fmt: skip


def examiner_of(recipe: Recipe, assembly: Assembly, store: RunFolder, examines: bool) -> Examiner:
    """What measures the policy on the way, under the run's own decode control."""
    policy, asked = assembly.state.policy, recipe.held_out
    measure = partial(evaluate_both, recipe, policy, store.path, hand=assembly.state.control.evaluating)
    return Examiner(store.path, policy, asked.every if examines else 0, asked.keep_best, measure, asked.best_by)
