"""From what a person names (a recipe or a TOML file, and changes to it) to one resolved recipe."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from critica.environments.base import EnvironmentConfig
from critica.environments.catalogue import parse_environment
from critica.recipes.base import OurChoice, Recipe
from critica.recipes.coercion import ConfigError, issubclass_safe, nearest
from critica.recipes.config import Catalogue, Specs, apply_sets, from_tables
from critica.recipes.toml import read_toml
from critica.recipes.user_parts import defines_class, is_file, is_user_part, load_object
from critica.rewards.base import RewardConfig
from critica.rewards.catalogue import parse_reward
from critica.rewards.correction_specs import parse_correction
from critica.rewards.noise_specs import parse_noise

# Parts that have a spec of their own on the command line: `--environment rg:lcm`, `--noise flip:0.2:group`.
BASE = "base"  # the key of a TOML file that names the recipe to start from


def read_environment(spec: str) -> EnvironmentConfig:
    """`parse_environment`, with a user's own class loaded so that the saved config can name it again."""
    if not is_user_part(spec):
        return parse_environment(spec)
    part = load_object(spec)
    if not issubclass_safe(part, EnvironmentConfig):
        raise ConfigError(
            f"{spec} must be a subclass of critica.environments.base.EnvironmentConfig with `build(seed)`."
        )
    try:
        return part()
    except TypeError as error:
        raise ConfigError(
            f"{spec} cannot be made without settings ({error}): give each of its fields a default."
        ) from error


def read_reward(spec: str) -> RewardConfig:
    """`parse_reward`, but a class in a user's file is a part, and no function: ConfigError leaves it to who loads parts.

    The file is only read: code that judges runs in workers.
    """
    file_name, _, name = spec.rpartition(":")
    if is_user_part(spec) and defines_class(Path(file_name), name):
        raise ConfigError(f"{spec} is a class: what judges is a function, or settings below {RewardConfig.__name__}")
    return parse_reward(spec)


# Parts that have a short spec of their own: `--environment rg:lcm`, `--noise flip:0.2:group`.
SPECS: Specs = MappingProxyType(
    {
        "environment": read_environment,
        "reward": read_reward,
        "reward.sources.*": read_reward,
        "noise": parse_noise,
        "correction": parse_correction,
    }
)


def find_recipe(name: str, recipes: Mapping[str, Recipe], parts: Catalogue, below: tuple[Path, ...] = ()) -> Recipe:
    """The recipe called `name`, or the one in the TOML file of that path, or `my_file.py:MY_RECIPE`.

    A file with `base = "dvpo"` says only what differs from that recipe; one without says everything, as the
    `config.toml` of a run folder does. `below` are the files that named this one as their base. Raises `ConfigError`
    with the nearest name, or naming the file.
    """
    if name in recipes:
        return recipes[name]
    if is_user_part(name):
        found = load_object(name)
        if not isinstance(found, Recipe):
            raise ConfigError(f"{name} is a {type(found).__name__}; it must be a Recipe (critica.recipes.base).")
        return found
    path = Path(name)
    if is_file(path / "config.toml"):
        path = path / "config.toml"
    if path.suffix == ".toml" and not is_file(path):
        raise ConfigError(f"there is no file {path.absolute()}.")
    if not is_file(path):
        raise ConfigError(
            f"there is no recipe {name!r}{nearest(name, recipes)}. There are: {', '.join(recipes)}; or a TOML file, or my_file.py:MY_RECIPE."
        )
    if path.resolve() in below:
        raise ConfigError(f"{path} is its own base: name a recipe of the catalogue, {', '.join(recipes)}.")
    tables = read_toml(path)
    base = tables.pop(BASE, None)
    try:
        start = (
            Recipe if base is None else find_recipe(beside(path, str(base)), recipes, parts, (*below, path.resolve()))
        )
        return from_tables(tables, start, parts, path.parent, SPECS)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def beside(file: Path, base: str) -> str:
    """What a file calls its base: a file next to it comes before one of this name in the working folder."""
    name, colon, recipe = base.partition(".py:")
    near = file.parent / (f"{name}.py" if colon else base)
    return f"{near}:{recipe}" if colon and is_file(near) else str(near) if is_file(near) else base


def change_recipe(recipe: Recipe, settings: Iterable[str], parts: Catalogue) -> Recipe:
    """The recipe with every `path=value` applied; what it said of a changed value's origin is said no more."""
    settings = tuple(settings)
    if not settings:
        return recipe
    changed = apply_sets(recipe, settings, parts, SPECS)
    paths = [setting.partition("=")[0].strip() for setting in settings]
    kept = {key: source for key, source in changed.provenance.items() if not any(_touches(key, p) for p in paths)}
    ours = {path: OurChoice(because="set by the user") for path in paths}
    return replace(changed, provenance=MappingProxyType(kept | ours))


def _touches(key: str, path: str) -> bool:
    return key == path or key.startswith(f"{path}.") or path.startswith(f"{key}.")
