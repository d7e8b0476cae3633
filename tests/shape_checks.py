"""The type checker of the test suite: beartype, minus the few annotations that no run-time checker can read."""

import typing
from collections.abc import Callable
from typing import Any

from beartype import beartype


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype on every annotation that means something at run time; jaxtyping hands us a copy that we may change.

    Left out: `Self` outside a class, protocols that are not runtime-checkable, and names imported for type checkers
    only. Shapes are never left out.
    """
    function.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if _checkable(hint)}
    return beartype(function)


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
