"""The words that choose what to train, shared by `train` and `plan`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Count, Seed

if TYPE_CHECKING:
    from critica.recipes.base import Recipe


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A recipe and the changes to it."""

    # A name from `critica recipes`, or a TOML file (such as a run's config.toml).
    recipe: Annotated[Positional[str], arg(metavar="RECIPE")]

    # The model to train: `pico` (ships with Critica), a folder, or a hub name.
    policy: Annotated[str, arg(metavar="P", help_behavior_hint="")] = ""

    # What is asked: pico, digit_sum, arithmetic:3, rg:chain_sum+lcm, … or my_file.py:MyEnvironment.
    environment: Annotated[str, arg(metavar="E", help_behavior_hint="")] = ""

    # Training steps.
    steps: Count = None

    # Of every random draw.
    seed: Seed = None

    # What judges the answers: environment, exact, numeric, my_file.py:my_function, …; a wrong name lists them all.
    reward: Annotated[str, arg(metavar="SPEC", help_behavior_hint="")] = ""

    # Reward noise on the training split: none, or flip:RATE:UNIT with unit sample, group, prompt or batch, ….
    noise: Annotated[str, arg(metavar="SPEC", help_behavior_hint="")] = ""

    # What to make of verdicts that may be wrong: none, answer_posterior, posterior, backward:0.2/0.1, audit:0.1, ….
    correction: Annotated[str, arg(metavar="SPEC", help_behavior_hint="")] = ""

    # Take over a library's conventions (epsilon, clip, reduction, KL, mismatch): trl, verl, openrlhf or prime-rl.
    preset: Annotated[str, arg(metavar="LIBRARY", help_behavior_hint="")] = ""

    # Change one value, e.g. critic.quantiles=32, critic=group_mean or critic=my_file.py:MyCritic.
    set: Annotated[tuple[str, ...], arg(metavar="PATH=VALUE")] = ()


def resolve(choice: Choice) -> "Recipe":
    """The recipe that the words describe. Raises `ConfigError` with the way out."""
    from critica.recipes.catalogue import PARTS, RECIPES
    from critica.recipes.resolve import change_recipe, find_recipe

    recipe = find_recipe(choice.recipe, RECIPES, PARTS)
    if choice.preset:
        from critica.recipes.presets import apply_preset

        recipe = apply_preset(recipe, choice.preset, PARTS)
    return change_recipe(recipe, settings_of(choice), PARTS)


def settings_of(choice: Choice) -> list[str]:
    """Every flag as the `--set` it stands for; explicit ones come last and win."""
    named = {
        "policy.path": choice.policy,
        "environment": choice.environment,
        "steps": choice.steps,
        "seed": choice.seed,
        "reward": choice.reward,
        "noise": choice.noise,
        "correction": choice.correction,
    }
    return [f"{path}={value}" for path, value in named.items() if value not in ("", None)] + list(choice.set)


def free_folder(name: str, seed: int) -> Path:
    """runs/NAME-SEED, or the first of runs/NAME-SEED-2, -3, … that does not exist."""
    first = Path("runs") / f"{name}-seed{seed}"
    number, folder = 1, first
    while folder.exists():
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder
