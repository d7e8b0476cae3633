"""Start a run's critic from one that was fitted before."""

from dataclasses import asdict
from pathlib import Path

from critica.critics.base import Trainable, ValueCritic
from critica.recipes.base import Recipe
from critica.training.critic_folder import CriticFolder


class WrongCritic(ValueError):
    """The fitted critic is not the kind that this run trains."""


def warm_start_critic(critic: ValueCritic, recipe: Recipe, folder: Path | str) -> list[str]:
    """Load the weights of a folder that `critica critic fit` wrote into this run's critic; returns what to warn of.

    Raises `WrongCritic` unless both are configured alike, `NotACritic` if the folder holds none.
    """
    found = CriticFolder.open(folder)
    fitted = found.recipe
    if not isinstance(critic, Trainable):
        raise WrongCritic(f"{type(recipe.critic).__name__} has no weights to start from: leave --critic-from out")
    if fitted.critic != recipe.critic:
        raise WrongCritic(
            f"{folder} holds a {describe(fitted)}, this run trains a {describe(recipe)}: set critic to the fitted one's"
            " values, or fit again with --critic and --set"
        )
    critic.load(found.weights)
    warnings = []
    bounds = (found.manifest.low, found.manifest.high)
    if fitted.policy.path != recipe.policy.path:
        warnings.append(
            f"the critic of {folder} was fitted beside the policy {fitted.policy.path}, this run trains"
            f" {recipe.policy.path}: its values are those of the other policy's answers until it has learned more"
        )
    if found.manifest.best_error >= found.manifest.constant_error:
        warnings.append(f"the critic of {folder} is no better than a constant on held-out prompts (its README.md)")
    if bounds[0] >= bounds[1]:
        warnings.append(f"the critic of {folder} saw one reward only")
    return warnings


def describe(recipe: Recipe) -> str:
    """The critic's class and settings."""
    part = recipe.critic
    return f"{type(part).__name__}({', '.join(f'{name}={value!r}' for name, value in asdict(part).items())})"  # type: ignore[call-overload]
