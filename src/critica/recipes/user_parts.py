"""A user's own part, named by the file that holds it: `my_file.py:MyCritic`."""

import ast
import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from critica.recipes.coercion import ConfigError, nearest

PREFIX = "critica_user_part_"  # of the module names under which user files are imported


def is_user_part(name: str) -> bool:
    """Whether the name is `FILE.py:OBJECT`."""
    return ".py:" in name


def load_object(name: str, folder: Path | None = None) -> Any:
    """The object that `FILE.py:OBJECT` names; a relative FILE is looked for here, then in `folder`.

    Raises `ConfigError`: no such file, a file that fails (with its line), no such object in it (with the nearest).
    """
    file_name, _, attribute = name.rpartition(":")
    candidates = [Path(file_name), *([folder / file_name] if folder is not None else [])]
    path = next((candidate for candidate in candidates if is_file(candidate)), None)
    if path is None:
        looked = " or ".join(str(candidate.absolute()) for candidate in candidates)
        raise ConfigError(f"{name}: there is no file {looked}.")
    module = _import_file(path.resolve())
    if attribute not in vars(module):
        own = [
            key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        ]
        listed = ", ".join(own) or "nothing"
        raise ConfigError(f"{path} defines no {attribute!r}{nearest(attribute, own)}. It defines: {listed}.")
    return vars(module)[attribute]


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have (too long, a zero byte) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def defines_class(path: Path, name: str) -> bool:
    """Whether the file defines a class of this name, as far as reading it without running it can tell."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):  # whoever loads it will say what is wrong with it
        return False
    return any(isinstance(node, ast.ClassDef) and node.name == name for node in tree.body)


def user_name(part: type) -> str:
    """`FILE.py:OBJECT` for a class loaded by `load_object`; empty for any other."""
    if not part.__module__.startswith(PREFIX):
        return ""
    return f"{sys.modules[part.__module__].__file__}:{part.__qualname__}"


def _import_file(path: Path) -> Any:
    """The file as a module, run once per content: dataclasses look their module up in `sys.modules`."""
    source = path.read_bytes()
    name = PREFIX + hashlib.blake2b(str(path).encode() + b"\0" + source, digest_size=8).hexdigest()
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        del sys.modules[name]
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
        ]
        where = f", line {lines[-1]}" if lines else ""
        raise ConfigError(f"{path}{where}: {type(error).__name__}: {error}.") from error
    return module
