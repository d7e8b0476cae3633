"""The recipe that a run folder keeps: read, changed on purpose, compared with what a checkpoint was made by."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS
from critica.recipes.config import from_tables, to_tables
from critica.recipes.notes import provenance_notes
from critica.recipes.resolve import change_recipe
from critica.recipes.toml import read_toml, write_toml
from critica.store.checkpoints import VerifiedCheckpoint
from critica.store.errors import StoreError
from critica.store.run_folder import RunFolder
from critica.training.saving import CONFIG, ORIGIN

HARMLESS = ("steps", "checkpoint", "held_out", "failures", "safety", "workers", "threads")


class ForeignCheckpoint(StoreError):
    """A checkpoint that another run has written."""


def recipe_of(store: RunFolder) -> Recipe:
    """The resolved recipe that a run folder keeps."""
    return from_tables(read_toml(store.path / CONFIG), Recipe, PARTS, folder=store.path)


def config_text(recipe: Recipe) -> str:
    """The resolved config: itself a valid RECIPE, each value with its provenance."""
    return write_toml(to_tables(recipe, PARTS), provenance_notes(recipe))


def changed(recipe: Recipe, steps: int | None, settings: Sequence[str]) -> Recipe:
    """The recipe with settings changed for the rest of the run, `path=value` each."""
    recipe = change_recipe(recipe, settings, PARTS)
    return recipe if steps is None else replace(recipe, steps=steps)


def refuse_foreign(found: VerifiedCheckpoint, run_id: str) -> None:
    """Raise `ForeignCheckpoint` if the checkpoint says that it belongs to another run."""
    path = found.path / ORIGIN
    origin = json.loads(path.read_text())["run_id"] if path.is_file() else ""
    if run_id and origin and origin != run_id:
        raise ForeignCheckpoint(
            f"the checkpoint {found.path} was written by another run ({origin[:8]}, this one is {run_id[:8]}): put"
            f" it back where it came from; to train on from its policy, start a run with `--policy {found.path}/policy`"
        )


def changes_since(checkpoint: Path, recipe: Recipe) -> list[str]:
    """`path: before -> now` for every setting that changes what is learned and was different at this checkpoint."""
    path = checkpoint / CONFIG
    if not path.is_file():
        return []
    before = leaves_of(tomllib.loads(path.read_text()))
    now = leaves_of(tomllib.loads(config_text(recipe)))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names if name.split(".")[0] not in HARMLESS]


def leaves_of(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value by its dotted path."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            found |= leaves_of(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
