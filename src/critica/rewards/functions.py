"""A user's plain Python function as a judge: ours, TRL's or another library's, by its parameters. Imports no torch.

Ours: `f(task, completion) -> float | None`, once per completion; `task` is a `wire.TaskView`.
TRL's: `f(prompts, completions, **columns) -> list[float | None]`, once per batch, run unchanged. Columns are the keys
of `Task.info`, and `answer`, `task_id`. Either may be `async`. None means: this function does not judge that
completion. The others are in `rewards.foreign`.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from critica.rewards.foreign import KINDS, Kind, foreign_judge, kind_of, settle
from critica.rewards.wire import Item, Judge


class FunctionProblem(ValueError):
    """A reward function cannot be used as written; the text says what to change."""


def make_function_judge(settings: Mapping[str, Any]) -> Judge:
    """The judge of `{"path": "file.py:function", "conversational": bool, "kind": one of KINDS or empty}`."""
    return function_judge(load_function(settings["path"]), settings["conversational"], settings.get("kind", ""))


def load_function(path: str) -> Any:
    """The function, or object of another library, that `file.py:name` or `package.module:name` names."""
    place, _, name = path.rpartition(":")
    if not place or not name:
        raise FunctionProblem(f"{path!r} names no function: write file.py:function or package.module:function")
    if place.endswith(".py"):
        file = Path(place).resolve()
        if not file.is_file():
            raise FunctionProblem(f"{path!r}: there is no file {file}")
        sys.path.insert(0, str(file.parent))  # so that the file can import its neighbors
        spec = importlib.util.spec_from_file_location(f"reward_{file.stem}", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    function = vars(module).get(name)
    if not callable(function) and kind_of(function) == "own":
        functions = sorted(key for key, value in vars(module).items() if inspect.isfunction(value))
        raise FunctionProblem(f"{place} has no function {name!r}: it has {', '.join(functions) or 'none'}")
    return function


def function_judge(function: Any, conversational: bool = False, kind: str = "") -> Judge:
    """The judge that a function is; `kind` (one of `KINDS`) says whose it is, empty finds out.

    Raises `FunctionProblem` if its parameters fit no signature.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if kind and kind not in KINDS:
        raise FunctionProblem(f"{kind!r} is no kind of reward function: there are {', '.join(KINDS)}")
    whose: Kind = kind or kind_of(function)  # type: ignore[assignment]
    if whose not in ("own", "trl"):
        return foreign_judge(function, whose, name)
    parameters = inspect.signature(function).parameters
    if whose == "trl":
        return Judge(name, True, _trl_call(function, parameters, conversational, name))
    required = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    keyword_only = any(parameters[key].kind is inspect.Parameter.KEYWORD_ONLY for key in required)
    starred = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values())
    positional = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters.values())
    if len(required) > 2 or keyword_only or (positional < 2 and not starred):
        raise FunctionProblem(
            f"the reward function {name}{inspect.signature(function)} fits neither signature: "
            "write `def f(task, completion) -> float`, TRL's `def f(prompts, completions, **columns) -> list[float]`,"
            " verl's compute_score, OpenRLHF's reward_func or a verifiers function (`kind` says which, if need be)"
        )
    return Judge(name, False, lambda items: [settle(function(items[0].task, items[0].text))])


def _trl_call(
    function: Callable[..., object], parameters: Mapping[str, inspect.Parameter], conversational: bool, name: str
) -> Callable[[Sequence[Item]], object]:
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    required = {
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }

    def call(items: Sequence[Item]) -> object:
        given = columns(items, conversational)
        missing = sorted(required - set(given))
        if missing:
            raise FunctionProblem(
                f"{name} asks for {', '.join(missing)}; these tasks have the columns {', '.join(sorted(given))}"
            )
        return settle(function(**{key: value for key, value in given.items() if takes_all or key in parameters}))

    return call


def columns(items: Sequence[Item], conversational: bool) -> dict[str, list[Any]]:
    """TRL's keyword arguments: prompts, completions and one list per column; None where an item lacks a key."""
    shown = frozenset(items[0].task.seen()) if items else frozenset()
    given: dict[str, list[Any]] = {
        key: [getattr(item.task, key) for item in items] for key in ("answer", "task_id") if key in shown
    }
    if "info" in shown:
        keys = sorted({key for item in items for key in item.task.info})
        given |= {key: [item.task.info.get(key) for item in items] for key in keys}
    if "prompt" not in shown:
        given["completions"] = [item.text for item in items]
    elif conversational:
        given["prompts"] = [
            [{"role": message["role"], "content": message["content"]} for message in item.task.messages]
            for item in items
        ]
        given["completions"] = [[{"role": "assistant", "content": item.text}] for item in items]
    else:
        given["prompts"] = [item.task.prompt for item in items]
        given["completions"] = [item.text for item in items]
    return given
