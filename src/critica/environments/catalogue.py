"""Environments by the short names of the command line."""

import difflib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

from critica.environments.arithmetic import FORMATS, Arithmetic, StepFormat
from critica.environments.base import EnvironmentConfig, EnvironmentProblem
from critica.environments.binary_tree import BinaryTree
from critica.environments.chain import Chain
from critica.environments.constrained import Constrained
from critica.environments.digit_sum import DigitSum
from critica.environments.files import TaskFile
from critica.environments.guess import Guess
from critica.environments.hub import PREFIX
from critica.environments.mixes import PICO_TASKS, MixEntry
from critica.environments.reasoning_gym import ReasoningGym
from critica.environments.recall import Recall
from critica.environments.sources import SUFFIXES, is_folder
from critica.environments.star_graph import StarGraph
from critica.environments.two_branch import TwoBranch
from critica.records.names import odd_letter

PICO_MAX_NEW_TOKENS = 64


def pico() -> ReasoningGym:
    """The mix that the shipped pico policy was warm-started on."""
    return ReasoningGym(PICO_TASKS, name="pico", max_new_tokens=PICO_MAX_NEW_TOKENS, extract="after_equals")


NAMED: tuple[tuple[str, Callable[[], EnvironmentConfig]], ...] = (
    ("pico", pico),
    ("arithmetic", Arithmetic),
    ("digit_sum", DigitSum),
    ("binary_tree", BinaryTree),
    ("chain", Chain),
    ("two_branch", TwoBranch),
    ("guess", Guess),
    ("recall", Recall),
    ("star_graph", StarGraph),
    ("constrained", Constrained),
)
FORMS = (
    "rg:DATASET, rg:A+B, rg:A*2+B*1, arithmetic:DIFFICULTY, arithmetic:DIFFICULTY/FORMAT, tasks.jsonl, tasks.parquet, "
    "a folder of such files, hf:OWNER/NAME, file.py:ClassName"
)


def parse_environment(spec: str) -> EnvironmentConfig:
    """The settings that a command-line spec means. Raises `EnvironmentProblem` with the nearest name and the list."""
    if spec.startswith(PREFIX) or (spec.lower().endswith(SUFFIXES) and not is_folder(Path(spec))):
        return _task_file(spec)
    head, colon, rest = spec.partition(":")
    if head == "rg" and colon:
        return ReasoningGym(tuple(_entry(part, spec) for part in rest.split("+")))
    if head == "arithmetic" and colon:
        return _arithmetic(rest, spec)
    if head.endswith(".py"):
        if not colon:
            _refuse(spec, "name the class as well: file.py:ClassName")
        return _from_file(*spec.rsplit(":", 1))
    named = dict(NAMED)
    if spec in named:
        return named[spec]()
    if is_folder(Path(spec)):
        return TaskFile(spec)
    near = difflib.get_close_matches(head, [*named, "rg"], 1, 0.0)
    _refuse(
        spec,
        f"the nearest is {'rg:DATASET' if near[0] == 'rg' else near[0]!r}{odd_letter(head)}. Known:"
        f" {', '.join(named)}, {FORMS}",
    )


def _entry(part: str, spec: str) -> MixEntry:
    name, star, weight = part.partition("*")
    try:
        share = float(weight) if star else 1.0
    except ValueError:
        share = -1.0
    if not name or not share > 0.0:
        _refuse(spec, f"{part!r} is not DATASET or DATASET*WEIGHT with a weight above 0")
    return MixEntry(name=name, weight=share, config={})


def _arithmetic(rest: str, spec: str) -> Arithmetic:
    level, _, step_format = rest.partition("/")
    if not re.fullmatch("[0-9]{1,9}", level):
        _refuse(spec, "the difficulty is a number from 1 to 5, as in arithmetic:3 or arithmetic:3/rewrite")
    if step_format and step_format not in FORMATS:
        _refuse(spec, f"arithmetic has the step formats {', '.join(FORMATS)}, not {step_format!r}")
    return Arithmetic(int(level), cast(StepFormat, step_format or "running"))


def _task_file(spec: str) -> TaskFile:
    config = TaskFile(spec)
    if not spec.startswith(PREFIX) and not is_file(Path(spec)):
        _refuse(spec, f"there is no file {config.path}")
    return config


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _from_file(place: str, name: str) -> EnvironmentConfig:
    where = f"{place}:{name}"
    if not is_file(Path(place)):
        _refuse(where, f"there is no file {place}")
    file = Path(place).resolve()
    spec = importlib.util.spec_from_file_location(f"environment_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise EnvironmentProblem(f"{where}: the file fails with {type(error).__name__}: {error}") from error
    found = vars(module).get(name)
    if not (isinstance(found, type) and issubclass(found, EnvironmentConfig)):
        _refuse(where, "it must be a subclass of critica.environments.base.EnvironmentConfig with a `build(seed)`")
    try:
        return found()
    except TypeError as error:
        raise EnvironmentProblem(f"{where} cannot be made without settings ({error}): give fields defaults") from error


def _refuse(spec: str, reason: str) -> NoReturn:
    raise EnvironmentProblem(f"there is no environment {spec!r}: {reason}")
