"""Held-out accuracy of a run, a model folder or a named policy: what the command and the Python API call."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from critica.environments.base import Environment
from critica.environments.catalogue import parse_environment
from critica.evaluation.outcome import Hand, evaluate_policy
from critica.policies.base import Policy
from critica.policies.language_model import LanguagePolicy
from critica.policies.numerics import configure
from critica.recipes.base import Recipe
from critica.records.outcome import OutcomeReport
from critica.rewards.base import RewardSource, VerdictSource
from critica.rewards.verifiers import EnvironmentScorer
from critica.store.evaluations import name_part, save_evaluation
from critica.store.run_folder import RunFolder
from critica.training.saved_recipe import recipe_of

EVALUATION_SEED = 20_251
HELD_OUT_SEED = 0  # every run is measured on the same held-out prompts, whatever its own seed


@contextmanager
def own_reward(recipe: Recipe | None, environment: Environment) -> Iterator[RewardSource | None]:
    """The run's own reward, to be asked about held-out answers; None where it is the environment's word itself.

    Also where it asks somebody else (a judge), which costs, unless the best policy is chosen by it.
    """
    if recipe is None or isinstance(recipe.reward, EnvironmentScorer):
        yield None
        return
    source = recipe.reward.build(environment, recipe.workers)
    try:
        costs = isinstance(source, VerdictSource) and source.takes_hints and recipe.held_out.best_by != "reward"
        yield None if costs else source
    finally:
        source.close()


def evaluate_both(
    recipe: Recipe, policy: Policy, run: Path, name: str, hand: Hand | None = None
) -> tuple[OutcomeReport, ...]:
    """Held-out accuracy at temperature 1 and greedy, under this control, saved with the run under these names."""
    reports = []
    environment = recipe.environment.build(HELD_OUT_SEED)
    limit = recipe.sampling.max_new_tokens or environment.max_new_tokens
    with own_reward(recipe, environment) as reward:
        for label, temperature, samples in (("temperature_1", 1.0, recipe.held_out.samples), ("greedy", 0.0, 1)):
            report = evaluate_policy(
                policy, environment, recipe.held_out.prompts, samples, temperature, EVALUATION_SEED,
                max_new_tokens=limit, hand=hand, stop=recipe.sampling.stop, reward=reward,
            )  # fmt: skip
            save_evaluation(run, f"{name}-{label}", report)
            reports.append(report)
    return tuple(reports)


def load_target(target: str | Path) -> tuple[LanguagePolicy, Recipe | None]:
    """A policy to evaluate: a run folder's newest checkpoint, a model folder, or a name; with the run's recipe."""
    path = Path(target)
    if (path / "run.json").is_file():
        store = RunFolder.open(path)
        recipe = recipe_of(store)
        found = store.checkpoints.latest(allow_fallback=True)
        policy = LanguagePolicy.load(str(found.path / "policy"), recipe.policy.lora, system=recipe.policy.system)
        policy.version = found.step
        return policy, recipe
    return LanguagePolicy.load(str(target)), None


def evaluate(
    target: str | Path,
    environment: str = "",
    prompts: int = 1000,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = EVALUATION_SEED,
) -> OutcomeReport:
    """Held-out accuracy of a run's last policy, a model folder, or a named policy; saved with the run if it is one.

    Of a run that learned from another reward than the environment's word, also what that reward says on average.
    """
    configure(len(os.sched_getaffinity(0)))
    policy, recipe = load_target(target)
    config = parse_environment(environment) if environment or recipe is None else recipe.environment
    where = config.build(HELD_OUT_SEED)
    limit = (recipe.sampling.max_new_tokens if recipe and not environment else 0) or where.max_new_tokens
    stop = recipe.sampling.stop if recipe else ()
    with own_reward(recipe, where) as reward:
        report = evaluate_policy(
            policy, where, prompts, samples, temperature, seed, max_new_tokens=limit, stop=stop, reward=reward
        )
    if recipe is not None:
        label = "greedy" if temperature == 0 else f"temperature_{temperature:g}"
        save_evaluation(target, f"last-{label}-{name_part(where.name)}", report)
    return report
