"""Recipes by name, for Python: `critica.recipe("dvpo", steps=50)` says what `critica train dvpo --steps 50` says."""

from collections.abc import Mapping
from typing import Any

from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import change_recipe, find_recipe


def recipes() -> Mapping[str, Recipe]:
    """Every recipe of the catalogue."""
    return RECIPES


def recipe(name: str, *settings: str, **changes: Any) -> Recipe:
    """The recipe `name` (or a TOML file) with changes: `"path=value"` strings as for `--set`, or keywords.

    Keywords name top-level settings: `steps=50`, `seed=1`, `noise="flip:0.2:group"`, `environment="rg:lcm"`,
    `policy="pico"`. Raises `ConfigError` with the nearest name.
    """
    named = {("policy.path" if key == "policy" else key): value for key, value in changes.items()}
    given = [f"{path}={value}" for path, value in named.items()]
    return change_recipe(find_recipe(name, RECIPES, PARTS), [*given, *settings], PARTS)
