"""A recipe as tables and back: a tree of frozen dataclasses, each part written `{use = "short_name", field = value}`.

Three acts: `to_tables` writes a tree, `from_tables` reads one, `apply_sets` changes one. Changes are made on a draft
(class and field values, not yet constructed) and the tree is built once at the end, so that two changes that are
valid only together may come in either order.
"""

import dataclasses
import enum
import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin

from critica.recipes.coercion import (
    ConfigError,
    coerce,
    describe,
    issubclass_safe,
    leaves,
    nearest,
    readings,
    to_text,
)
from critica.recipes.user_parts import is_user_part, load_object, user_name

__all__ = ["Catalogue", "ConfigError", "Specs", "apply_set", "apply_sets", "from_tables", "to_tables"]

Catalogue = Mapping[str, Mapping[str, type]]  # kind of part -> short name -> class
Specs = Mapping[str, Callable[[str], Any]]  # path -> what reads a short spec there, such as flip:0.2:group
PLAIN = (bool, int, float, str, Path, object, type(None))  # where no part can stand
NO_SPECS: Specs = MappingProxyType({})


@dataclass
class Draft:
    """A part not yet constructed: its class and the values of the fields given so far."""

    part: type
    values: dict[str, Any] = field(default_factory=dict)


class Items(list[Any]):
    """A tuple opened up so that one of its elements can be set."""


@dataclass(frozen=True)
class Reader:
    """What reading a value needs besides it: names, where relative user files start from, and short specs."""

    catalogue: Catalogue
    folder: Path | None = None
    specs: Specs = field(default_factory=lambda: NO_SPECS)


def to_tables(recipe: Any, catalogue: Catalogue) -> dict[str, Any]:
    """The tree as TOML-ready tables. Every field is written, defaults too; None is `"none"`."""
    return _write(recipe, type(recipe), catalogue, "")


def from_tables(
    tables: Mapping[str, Any], root: Any, catalogue: Catalogue, folder: Path | None = None, specs: Specs = NO_SPECS
) -> Any:
    """The tree that the tables describe.

    `root` is the class of the whole, or a whole tree to start from: then only what the tables say is changed. A
    table with `use` starts from that class's defaults, one without changes the part that is already there.
    Raises `ConfigError`.
    """
    start = Draft(root) if isinstance(root, type) else _draft(root)
    if "use" in tables and "use" not in _hints(start.part):
        raise ConfigError(f"use = {tables['use']!r} stands outside of every part: put it into the table of one, as in"
                          " [critic].")  # fmt: skip
    return _build(_overlay(start, tables, "", Reader(catalogue, folder, specs)), "")


def apply_sets(recipe: Any, settings: Iterable[str], catalogue: Catalogue, specs: Specs = NO_SPECS) -> Any:
    """The tree with every `path=value` applied in order, e.g. `critic.quantiles=32` or `critic=my_file.py:MyCritic`.

    Raises `ConfigError`: an unknown path (with the nearest field), a value of a wrong type, or one that a part
    refuses (its own sentence, with the path in front).
    """
    draft, reader = _draft(recipe), Reader(catalogue, specs=specs)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set {setting}: write PATH=VALUE, for example --set critic.quantiles=32.")
        _assign(draft, path.strip(), text, reader)
    return _build(draft, "")


def apply_set(recipe: Any, setting: str, catalogue: Catalogue) -> Any:
    """`apply_sets` with one setting."""
    return apply_sets(recipe, [setting], catalogue)


# Writing.


def _write(value: Any, annotation: Any, catalogue: Catalogue, path: str) -> Any:
    if _is_part(value):
        hints = _hints(type(value))
        plain = annotation is type(value) and type(value) not in _listed(Same(catalogue))
        table = {} if plain else {"use": _name_of(type(value), annotation, catalogue, path)}
        for name in hints:
            table[name] = _write(getattr(value, name), hints[name], catalogue, _join(path, name))
        return table
    if isinstance(value, Mapping):
        inner = _element(annotation, Mapping, 1)
        return {str(key): _write(item, inner, catalogue, _join(path, key)) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset):
        items = sorted(value) if isinstance(value, frozenset) else value
        return [_write(item, _element(annotation, tuple, i), catalogue, _join(path, i)) for i, item in enumerate(items)]
    if value is None:
        return "none"
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{path}: a {type(value).__name__} cannot be written to TOML.")


def _name_of(part: type, annotation: Any, catalogue: Catalogue, path: str) -> str:
    """The name under which `_choices` would find the class at this place."""
    own = user_name(part)
    if own:
        return own
    for name, candidate in _choices(annotation, path, catalogue).items():
        if candidate is part:
            return name
    raise ConfigError(
        f"{path}: {part.__name__} has no name in the catalogue; load it as FILE.py:{part.__name__}, or add it there."
    )


# Which classes may stand at a place.


class Same:
    """A key that stands for one object and no equal one: `int | None` equals `None | int`, but is told otherwise."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __hash__(self) -> int:
        return id(self.it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.it is other.it


@functools.lru_cache(maxsize=64)
def _listed(catalogue: Same) -> frozenset[type]:
    return frozenset(part for parts in catalogue.it.values() for part in parts.values())


def _choices(annotation: Any, path: str, catalogue: Catalogue) -> Mapping[str, type]:
    """Name -> class for every part that fits the annotation; the kind nearest to the path wins a shared name."""
    kinds = [kind for name in reversed(path.split(".")) for kind in (name, name.removesuffix("s")) if kind in catalogue]
    return _fitting(Same(annotation), tuple(kinds), Same(catalogue))


@functools.lru_cache(maxsize=2**14)  # hundreds of classes are asked about, at a few hundred places
def _fitting(annotation: Same, kinds: tuple[str, ...], named: Same) -> Mapping[str, type]:
    found: dict[str, type] = {}
    catalogue: Catalogue = named.it
    ordered = dict.fromkeys([*kinds, *catalogue])
    for leaf in leaves(annotation.it):
        if not isinstance(leaf, type) or leaf in PLAIN or get_origin(leaf) is not None:
            continue
        protocol = bool(leaf.__dict__.get("_is_protocol"))
        for kind in ordered:
            for name, part in catalogue[kind].items():
                if (kind in kinds) if protocol else issubclass(part, leaf):
                    found.setdefault(name, part)
        concrete = dataclasses.is_dataclass(leaf) and not inspect.isabstract(leaf)
        if concrete and leaf not in found.values():
            found.setdefault(_snake(leaf.__name__), leaf)
    return MappingProxyType(found)


def _resolve(name: str, annotation: Any, path: str, reader: Reader) -> type:
    """The class called `name` at this place, or a user's own by `FILE.py:CLASS`."""
    if is_user_part(name):
        part = load_object(name, reader.folder)
        wanted = [leaf for leaf in leaves(annotation) if isinstance(leaf, type) and "_is_protocol" not in vars(leaf)]
        called = name.rpartition(":")[2]
        if isinstance(part, type) and wanted and object not in wanted and not issubclass(part, tuple(wanted)):
            bases = " or ".join(f"{leaf.__module__}.{leaf.__name__}" for leaf in wanted)
            raise ConfigError(f"{path}={name}: {called} must be a subclass of {bases}.")
        if not (isinstance(part, type) and dataclasses.is_dataclass(part)):
            raise ConfigError(f"{path}={name}: {called} is not a dataclass: decorate its class with"
                              " @dataclass(frozen=True) so that its fields are its settings.")  # fmt: skip
        return part
    choices = _choices(annotation, path, reader.catalogue)
    if name not in choices:
        raise ConfigError(
            f"{path}: there is no {name!r}{nearest(name, choices)}. There are: {', '.join(sorted(choices))};"
            " or your own, as FILE.py:CLASS."
        )
    return choices[name]


# Reading.


def _overlay(draft: Draft, tables: Mapping[str, Any], path: str, reader: Reader) -> Draft:
    """The draft with what the tables say put over it."""
    hints = _hints(draft.part)
    for name, value in tables.items():
        if name == "use" and "use" not in hints:
            continue
        where = _join(path, name)
        if name not in hints:
            raise ConfigError(_unknown(draft.part, name, path))
        draft.values[name] = _adopt(value, hints[name], _current(draft, name), where, reader)
    return draft


def _adopt(value: Any, annotation: Any, current: Any, path: str, reader: Reader) -> Any:
    """A TOML value as a draft of what the annotation says."""
    if Any in leaves(annotation):
        if value is None:
            raise ConfigError(f"{path} is null, which a config file cannot hold: leave it out.")
        return value
    spec = re.sub(r"\.\d+$", ".*", path)  # of any element of a tuple
    if isinstance(value, str) and spec in reader.specs:
        try:
            return _draft(reader.specs[spec](value))
        except ValueError as error:
            choices = _choices(annotation, path, reader.catalogue)
            if value not in choices and not (choices and is_user_part(value)):
                raise ConfigError(f"{path}: {error}") from error
            return Draft(_resolve(value, annotation, path, reader))  # a part without a spec, by its name or file
    if isinstance(value, Mapping):
        inner = _element(annotation, Mapping, 1)
        if inner is not None:
            return {key: _adopt(item, inner, None, _join(path, key), reader) for key, item in value.items()}
        return _adopt_part(value, annotation, current, path, reader)
    if isinstance(value, list) and _holds_parts(annotation, path, reader):
        return tuple(
            _adopt(item, _element(annotation, tuple, i), None, _join(path, i), reader) for i, item in enumerate(value)
        )
    if isinstance(value, str) and str not in leaves(annotation):
        choices = _choices(annotation, path, reader.catalogue)
        if value in choices or (choices and is_user_part(value)):
            return Draft(_resolve(value, annotation, path, reader))
        if choices and not any(_takes_text(leaf) for leaf in leaves(annotation)):
            _resolve(value, annotation, path, reader)  # raises, listing the choices
    return coerce(value, annotation, path, _shown(current))


def _adopt_part(table: Mapping[str, Any], annotation: Any, current: Any, path: str, reader: Reader) -> Draft:
    choices = _choices(annotation, path, reader.catalogue)
    if "use" in table:
        return _overlay(Draft(_resolve(str(table["use"]), annotation, path, reader)), table, path, reader)
    if isinstance(current, Draft):
        return _overlay(current, table, path, reader)
    if len(choices) == 1 or annotation in choices.values():
        part = annotation if annotation in choices.values() else next(iter(choices.values()))
        return _overlay(Draft(part), table, path, reader)
    if not choices:
        raise ConfigError(f"{path}: expected {describe(annotation)}, got a table.")
    raise ConfigError(f"{path}: say which part this is: use = one of {', '.join(sorted(choices))}.")


def _assign(root: Draft, path: str, text: str, reader: Reader) -> None:
    """Put the text after `=` at the path inside the draft, read as that field's annotation says."""
    names = path.split(".")
    place: Any = root
    for depth, name in enumerate(names):
        here, where = ".".join(names[:depth]), ".".join(names[: depth + 1])
        if isinstance(place, Draft):
            hints = _hints(place.part)
            if name not in hints:
                raise ConfigError(_unknown(place.part, name, here))
            annotation, current = hints[name], _current(place, name)
        elif isinstance(place, Items) and name in map(str, range(len(place))):
            annotation, current = _element(annotation, tuple, int(name)), place[int(name)]
        else:
            raise ConfigError(f"--set {path}: {here} is {_said(place)}, it has no {name!r} to set.")
        if depth == len(names) - 1:
            current = _read_text(text, annotation, current, where, reader)
        elif isinstance(current, tuple):
            current = Items(current)
        if isinstance(place, Draft):
            place.values[name] = current
        else:
            place[int(name)] = current
        place = current


def _read_text(text: str, annotation: Any, current: Any, path: str, reader: Reader) -> Any:
    """The first reading of the text that the annotation accepts."""
    errors = []
    for value in readings(text, annotation):
        try:
            return _adopt(value, annotation, current, path, reader)
        except ConfigError as error:
            errors.append(error)
    raise max(reversed(errors), key=lambda error: str(error).partition(":")[0].count("."))  # the deepest


# Drafts.


def _draft(value: Any) -> Any:
    if _is_part(value):
        unsaved = {name: getattr(value, name) for name in _unsaved(type(value))}
        return Draft(type(value), unsaved | {name: _draft(getattr(value, name)) for name in _hints(type(value))})
    if isinstance(value, tuple):
        return tuple(_draft(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _draft(item) for key, item in value.items()}
    return value


def _build(draft: Any, path: str) -> Any:
    """The draft constructed, leaves first; a part that refuses gets its path put before its sentence."""
    if isinstance(draft, tuple | Items):
        return tuple(_build(item, _join(path, i)) for i, item in enumerate(draft))
    if isinstance(draft, dict):
        return {key: _build(item, _join(path, key)) for key, item in draft.items()}
    if not isinstance(draft, Draft):
        return draft
    values = {name: _build(value, _join(path, name)) for name, value in draft.values.items()}
    missing = [
        f.name
        for f in _fields(draft.part)
        if f.name not in values and f.default is dataclasses.MISSING is f.default_factory
    ]
    if missing:
        where = f"{path}: " if path else ""
        example = f'; for example {path}={{use="…", {missing[0]}=…}}' if path else ""
        raise ConfigError(f"{where}{draft.part.__name__} needs a value for {' and '.join(missing)}{example}.")
    try:
        return draft.part(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: {error}" if path else str(error)) from error


def _current(draft: Draft, name: str) -> Any:
    """The field's value so far, or its default as a draft, or None."""
    if name in draft.values:
        return draft.values[name]
    default = next(_default(item) for item in _fields(draft.part) if item.name == name)
    return None if default is dataclasses.MISSING else _draft(default)


def _default(item: dataclasses.Field) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


# Small words.


def _is_part(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


@functools.cache
def _fields(part: type) -> tuple[dataclasses.Field, ...]:
    return tuple(item for item in dataclasses.fields(part) if item.init and _saved(item))


@functools.cache
def _unsaved(part: type) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(part) if not _saved(item))


def _saved(item: dataclasses.Field) -> bool:
    """Whether the field is part of the config; `metadata={"saved": False}` says that it is a note about it."""
    return bool(item.metadata.get("saved", True))


@functools.cache
def _hints(part: type) -> Mapping[str, Any]:
    """Field name -> annotation, in the order of the fields."""
    hints = typing.get_type_hints(part)
    return MappingProxyType({item.name: hints[item.name] for item in _fields(part)})


def _element(annotation: Any, container: type, index: int) -> Any:
    """The index-th annotation inside a `tuple[...]` or `Mapping[K, V]`; None if there is none."""
    for leaf in leaves(annotation):
        origin, arguments = get_origin(leaf), get_args(leaf)
        if issubclass_safe(origin, container):
            if container is tuple and len(arguments) == 2 and arguments[1] is ...:
                return arguments[0]
            return arguments[index] if index < len(arguments) else None
    return None


def _holds_parts(annotation: Any, path: str, reader: Reader) -> bool:
    inner = _element(annotation, tuple, 0)
    return inner is not None and bool(_choices(inner, path, reader.catalogue))


def _takes_text(leaf: Any) -> bool:
    return not isinstance(leaf, type) or issubclass(leaf, str | Path | enum.Enum | type(None))


def _unknown(part: type, name: str, path: str) -> str:
    fields = list(_hints(part))
    place = f"{path} ({part.__name__})" if path else part.__name__
    listed = f"Its fields: {', '.join(fields)}." if fields else "It has no fields."
    return f"{place} has no field {name!r}{nearest(name, fields)}. {listed}"


def _said(value: Any) -> str:
    return (
        f"a list of {len(value)}" if isinstance(value, list | tuple) else f"{to_text(value)} ({type(value).__name__})"
    )


def _shown(current: Any) -> Any:
    return current if isinstance(current, bool | int | float | str | tuple | enum.Enum) else None


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
