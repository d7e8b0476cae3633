"""What a fit is to do: how long, by which recipe, and in which folder."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from critica.advantages.gae import Gae
from critica.critics.base import CriticPart
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import MonteCarlo
from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError, nearest
from critica.recipes.resolve import change_recipe
from critica.recipes.user_parts import is_user_part, load_object
from critica.store.run_folder import RunFolder
from critica.training.claims import claim_folder
from critica.training.critic_folder import CONFIG
from critica.training.rates import with_rates
from critica.training.saved_recipe import config_text, recipe_of

COUNTS = "counts and has no weights to fit: name one that has, such as --critic scalar"


class CannotFit(ValueError):
    """This critic cannot be fitted, or not into this folder."""


@dataclass(frozen=True, slots=True)
class FitPlan:
    """At most `updates` updates of `groups` stored prompts each, judged every `judge_every` on held-out prompts.

    The fit ends when `patience` judgments in a row were no better than the best; the best weights are kept.
    """

    updates: int = 400
    groups: int = 16
    judge_every: int = 10
    patience: int = 5
    held_out: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.updates, self.groups, self.judge_every, self.patience) < 1:
            raise CannotFit("updates, groups, judge_every and patience must be at least 1")
        if not 0 < self.held_out < 1:
            raise CannotFit(f"held_out is a share between 0 and 1, got {self.held_out}")


USUAL = FitPlan()


def recipe_for(source: Path, critic: str, policy: str, plan: FitPlan, settings: Sequence[str]) -> Recipe:
    """The run's recipe (or a neutral one) with this critic, a target that suits it, and these settings."""
    run = (source / "run.json").is_file()
    base = recipe_of(RunFolder.open(source)) if run else RECIPES["ppo"]
    if critic:  # start from a pair that fits; the two settings then come together
        base = replace(base, advantage=Gae(), critic=ScalarCritic(), target=MonteCarlo())
    elif base.critic.group_based:
        raise CannotFit(f"the critic of {source} {COUNTS}")
    base = replace(base, advantage=Gae(), name="critic_fit", steps=plan.updates, seed=plan.seed)
    chosen = [f"critic={critic}", f"target={_target_for(critic)}"] if critic else []
    found = policy or (_newest_policy(source) if run else "")
    if not found and not run:
        raise CannotFit(f"{source} is no run folder: name the policy that wrote these rollouts with --policy")
    if not critic and source.is_file():
        raise CannotFit(f"{source} names no critic: write --critic scalar, quantile, categorical, …")
    recipe = change_recipe(base, [*chosen, f"policy.path={found}", *settings], PARTS)
    return with_rates(recipe)


def _target_for(critic: str) -> str:
    """Monte-Carlo returns for a mean; a mixture of laws for a critic that may compare laws."""
    if is_user_part(critic):
        part = load_object(critic)
    elif critic in PARTS["critic"]:
        part = PARTS["critic"][critic]
    else:
        names = PARTS["critic"]
        raise ConfigError(f"there is no critic {critic!r}{nearest(critic, names)}. There are: {', '.join(names)}.")
    assert issubclass(part, CriticPart)
    if part.group_based:
        raise CannotFit(f"the critic {critic!r} {COUNTS}")
    return "lambda_mixture" if part.distributional else "monte_carlo"


def _newest_policy(run: Path) -> str:
    return str(RunFolder.open(run).checkpoints.latest(allow_fallback=True).path / "policy")


def claim(out: Path, recipe: Recipe, source: Path, plan: FitPlan) -> bool:
    """Make the folder, or make sure that it holds this very fit; whether it does."""
    told = json.dumps({"source": str(source), "plan": asdict(plan)}, sort_keys=True)
    text = f"# {told}\n{config_text(recipe)}"
    return claim_folder(out, CONFIG, text, CannotFit)
