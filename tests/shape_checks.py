"""The type checker of the test suite: beartype, minus the few annotations that no run-time checker can read.

`jaxtyping.jaxtyped` binds the arguments by name, then asks beartype about them before the call and again after it, in
two functions that it writes for each function of the package: that was 40 % of the processor time of tests that train.
`jaxtyped` here puts beartype around the function itself and opens a frame for the names of axes only where an
annotation has axes. The annotations that are checked and the type of the error are the same; of a list, of which
beartype looks at one element drawn at random, it now draws once a call.
"""

import contextlib
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, TypeCheckError

with_frames = jaxtyping.jaxtyped
FRAME = with_frames("context")
beartyped = beartype(conf=BeartypeConf(violation_type=TypeCheckError))


def jaxtyped(fn: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """What `jaxtyping.jaxtyped` is to the import hook: the function, or the class with its `__init__`, checked."""
    if fn is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if inspect.isclass(fn):
        if dataclasses.is_dataclass(fn) and not hasattr(fn.__init__, "__checked__"):
            fn.__init__ = jaxtyped(fn.__init__, typechecker=typechecker)
            fn.__init__.__checked__ = True
        return fn
    if isinstance(fn, classmethod | staticmethod):
        return type(fn)(jaxtyped(fn.__func__, typechecker=typechecker))
    if isinstance(fn, property) or inspect.isgeneratorfunction(fn) or inspect.iscoroutinefunction(fn):
        return with_frames(fn, typechecker=typechecker)
    hints = resolved(fn)
    checked = typechecker(copied(fn, hints))
    if not any(_has_axes(hint) for hint in hints.values()):
        return functools.wraps(fn)(checked) if hasattr(checked, "__wrapped__") else fn

    @functools.wraps(fn)
    def framed(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with FRAME:
            return checked(*args, **kwargs)

    return framed


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype on every annotation that means something at run time; we are handed a copy that we may change.

    Left out: `Self` outside a class, protocols that are not runtime-checkable, and names imported for type checkers
    only. Shapes are never left out.
    """
    function.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if _checkable(hint)}
    return beartyped(function)


def resolved(fn: Callable[..., Any]) -> dict[str, Any]:
    """The function's annotations with every quoted name replaced; those of unknown names are left out."""
    hints = {}
    for name, hint in fn.__annotations__.items():
        one = types.SimpleNamespace(__annotations__={name: hint})
        with contextlib.suppress(Exception):
            hints[name] = typing.get_type_hints(one, fn.__globals__, include_extras=True)[name]
    return hints


def copied(fn: types.FunctionType, hints: dict[str, Any]) -> types.FunctionType:
    """The same function with other annotations."""
    copy = types.FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    functools.update_wrapper(copy, fn)
    del copy.__wrapped__
    copy.__kwdefaults__, copy.__annotations__ = fn.__kwdefaults__, hints
    return copy


def _has_axes(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    if isinstance(hint, typing.TypeVar):
        return any(_has_axes(bound) for bound in (hint.__bound__, *hint.__constraints__))
    inner = [hint.__supertype__] if isinstance(hint, typing.NewType) else typing.get_args(hint)
    return any(_has_axes(part) for item in inner for part in (item if isinstance(item, list) else [item]))


def _checkable(hint: Any) -> bool:
    if isinstance(hint, str) or hint is typing.Self:
        return False
    if isinstance(hint, type) and vars(hint).get("_is_protocol"):
        return bool(vars(hint).get("_is_runtime_protocol"))
    if isinstance(hint, typing.ForwardRef):
        return False
    if typing.get_origin(hint) is typing.Literal:
        return True
    inner = typing.get_args(hint)
    return all(_checkable(part) for item in inner for part in (item if isinstance(item, list) else [item]))
