"""A policy measured with and without test-time training, on the same prompts with the same dice."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from critica.critics.base import HasWeights
from critica.environments.catalogue import parse_environment
from critica.evaluation.outcome import evaluate_policy
from critica.policies.numerics import configure
from critica.recipes.base import Recipe
from critica.recipes.catalogue import RECIPES
from critica.records.outcome import OutcomeReport
from critica.store.evaluations import name_part, save_evaluation
from critica.store.run_folder import RunFolder
from critica.training.assemble import assemble
from critica.training.held_out import EVALUATION_SEED, HELD_OUT_SEED
from critica.training.saved_recipe import recipe_of
from critica.training.test_time import ScopedPolicy, ScopedTraining


@dataclass(frozen=True, slots=True)
class ScopedReport:
    """Accuracy of the policy that trains before it answers, and of the policy as it is.

    `trained`: questions that had a variant to learn from; the others were answered as they are.
    """

    scoped: OutcomeReport
    alone: OutcomeReport
    trained: int
    part: ScopedTraining


def evaluate_scoped(
    target: str | Path,
    part: ScopedTraining,
    environment: str = "",
    prompts: int = 1000,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = EVALUATION_SEED,
) -> ScopedReport:
    """Measure `target` (a run, a model folder or a name); saved with the run if it is one.

    It learns by the run's own recipe, or by `ladder`. Raises `EnvironmentProblem` for tasks without variants.
    """
    configure(len(os.sched_getaffinity(0)))
    recipe, critic = target_recipe(target, environment)
    assembly = assemble(recipe)
    try:
        if critic is not None and isinstance(assembly.state.critic, HasWeights):
            assembly.state.critic.load(critic)
        where, policy = assembly.environment, assembly.state.policy
        limits = recipe.sampling.limits(where.max_new_tokens)
        learner = ScopedPolicy(assembly, recipe, where.held_out(prompts), part, limits)
        asked = (where, prompts, samples, temperature, seed)
        alone = evaluate_policy(policy, *asked, max_new_tokens=limits.max_new_tokens, stop=limits.stop)
        scoped = evaluate_policy(learner, *asked, max_new_tokens=limits.max_new_tokens, stop=limits.stop)
    finally:
        assembly.close()
    if (Path(target) / "run.json").is_file():
        label = "greedy" if temperature == 0 else f"temperature_{temperature:g}"
        place = name_part(where.name)
        save_evaluation(target, f"test_time_{part.steps}-{label}-{place}", scoped)
    return ScopedReport(scoped, alone, learner.trained, part)


def target_recipe(target: str | Path, environment: str) -> tuple[Recipe, Path | None]:
    """How the target learns, with its newest policy, on held-out prompts that are the same for all; its critic's
    folder."""
    path = Path(target)
    if not (path / "run.json").is_file():
        recipe, policy, critic = RECIPES["ladder"], str(target), None
    else:
        store = RunFolder.open(path)
        found = store.checkpoints.latest(allow_fallback=True)
        recipe, policy, critic = recipe_of(store), str(found.path / "policy"), found.path / "critic"
    config = parse_environment(environment) if environment else recipe.environment
    return replace(recipe, policy=replace(recipe.policy, path=policy), environment=config, seed=HELD_OUT_SEED), critic
