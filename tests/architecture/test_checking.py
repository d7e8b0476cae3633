"""The checker itself: a wrong shape, a wrong type and a wrong return are caught; unreadable hints are let pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import pytest
import torch
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor

from critica.functional.returns import discounted_returns
from shape_checks import check


class Speaks(Protocol):
    def speak(self) -> str: ...


@jaxtyped(typechecker=check)
def same(a: Float[Tensor, "N T"], b: Float[Tensor, "N T"], who: Speaks | None, other: "Nowhere") -> Float[Tensor, "T"]:
    return a[0] if who is None else a


def test_shapes_are_checked_beside_unreadable_hints() -> None:
    one, two = torch.zeros(2, 3), torch.zeros(2, 4)
    assert same(one, one, None, 1).shape == (3,)
    with pytest.raises(TypeCheckError):
        same(one, two, None, 1)
    with pytest.raises(TypeCheckError):
        same(one, one.long(), None, 1)
    with pytest.raises(TypeCheckError):
        same(one, one, 3, 1)  # returns a matrix


def test_self_outside_a_class_is_let_pass() -> None:
    @jaxtyped(typechecker=check)
    def enter(thing: Float[Tensor, "N"]) -> Self:
        return thing

    assert enter(torch.zeros(2)).shape == (2,)
    with pytest.raises(TypeCheckError):
        enter(torch.zeros(2, 2))


def test_what_has_no_axes_is_checked_too() -> None:
    @jaxtyped(typechecker=check)
    @dataclass(frozen=True, slots=True)
    class Size:
        count: int

    @jaxtyped(typechecker=check)
    def halved(size: Size, at_most: "float" = 9.0) -> float:
        return min(size.count // 2, at_most)

    assert halved(Size(40)) == 9.0
    for wrong in (lambda: Size(0.5), lambda: halved(3), lambda: halved(Size(40), "9"), lambda: halved(Size(4))):
        with pytest.raises(TypeCheckError):
            wrong()


def test_axes_bind_within_one_call_alone() -> None:
    @jaxtyped(typechecker=check)
    def inner(thing: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
        return thing

    @jaxtyped(typechecker=check)
    def outer(thing: Float[Tensor, "N"], way: Callable[[Tensor], Tensor]) -> Float[Tensor, "N"]:
        inner(torch.zeros(7))
        return way(thing)

    assert outer(torch.zeros(2), inner).shape == (2,)
    with pytest.raises(TypeCheckError):
        outer(torch.zeros(2), lambda thing: torch.zeros(7))


def test_the_package_is_checked() -> None:
    """The import hook reached the formulas: a mask of another shape is refused before any arithmetic."""
    rewards, mask = torch.zeros(2, 3), torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(TypeCheckError):
        discounted_returns(rewards, mask, 1.0, torch.zeros(2))
