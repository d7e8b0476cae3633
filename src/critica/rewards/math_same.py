"""When a said answer is the right one: the same kind of form with the same members. Imports no torch."""

from fractions import Fraction

from critica.rewards.math_ring import Value, number
from critica.rewards.math_shapes import (
    Bracketed,
    Collection,
    Equation,
    Form,
    Intervals,
    Named,
    Quantity,
    Words,
    as_intervals,
)


def same(gold: Form, said: Form) -> bool:
    """Whether `said` is the right answer when `gold` is. What the gold leaves out (a unit, a name) may be said."""
    if isinstance(gold, Named) or isinstance(said, Named):
        if isinstance(gold, Named) and isinstance(said, Named) and _bare(gold.name) != _bare(said.name):
            return False
        if (
            isinstance(said, Named)
            and isinstance(gold, Intervals | Named)
            and isinstance(said.content, Bracketed | Intervals)
        ):  # x in (1, 2)
            one, other = as_intervals(gold), as_intervals(said)
            if one is not None and other is not None:
                return _same_intervals(one, other)
        inner_gold = gold.content if isinstance(gold, Named) else gold
        inner_said = said.content if isinstance(said, Named) else said
        return same(inner_gold, inner_said)
    if isinstance(gold, Quantity) and isinstance(said, Quantity):
        return _same_quantity(gold, said)
    if isinstance(gold, Collection) and isinstance(said, Collection):
        names = [{one.name for one in side.members if isinstance(one, Named)} for side in (gold, said)]
        if len(names[1]) > 1 and not names[0]:  # several unknowns where one was asked for
            return False
        return len(gold.members) == len(said.members) and all(
            any(same(one, other) for other in said.members) for one in gold.members
        )
    if isinstance(gold, Bracketed) and isinstance(said, Bracketed):
        return (
            (gold.left, gold.right) == (said.left, said.right)
            and len(gold.members) == len(said.members)
            and all(same(one, other) for one, other in zip(gold.members, said.members, strict=True))
        )
    if isinstance(gold, Intervals) or isinstance(said, Intervals):
        one, other = as_intervals(gold), as_intervals(said)
        return one is not None and other is not None and _same_intervals(one, other)
    if isinstance(gold, Equation) and isinstance(said, Equation):
        return _proportional(gold.difference, said.difference)
    return isinstance(gold, Words) and isinstance(said, Words) and gold.text == said.text


def _bare(name: str) -> str:
    if name.startswith("("):
        return name
    return name.split("(")[0].removeprefix("\\").replace("{", "").replace("}", "")


def _same_quantity(gold: Quantity, said: Quantity) -> bool:
    if said.work > gold.work:  # it says what is to be calculated, not what comes out
        return False
    if gold.percent != said.percent:
        if gold.percent and not said.kind and gold.value == said.value:
            return True  # asked for a percentage, the number of percent was said
        hundredth = number(Fraction(1, 100))
        one = gold.value * hundredth if gold.percent else gold.value
        return one == (said.value * hundredth if said.percent else said.value) and gold.kind == said.kind
    if gold.kind and said.kind:
        return gold.kind == said.kind and gold.value * number(gold.factor) == said.value * number(said.factor)
    return gold.value == said.value


def _same_intervals(gold: Intervals, said: Intervals) -> bool:
    if gold.name and said.name and gold.name != said.name:
        return False
    if len(gold.pieces) != len(said.pieces):
        return False
    return all(any(_same_piece(one, other) for other in said.pieces) for one in gold.pieces)


def _same_piece(
    one: tuple[Value | None, Value | None, bool, bool], other: tuple[Value | None, Value | None, bool, bool]
) -> bool:
    return one[2:] == other[2:] and all(
        (a is None and b is None) or (a is not None and b is not None and a == b)
        for a, b in zip(one[:2], other[:2], strict=True)
    )


def _proportional(one: Value, other: Value) -> bool:
    """Whether two equations of polynomials say the same: one side is a number times the other."""
    if not one.above or not other.above:
        return not one.above and not other.above
    ratio = one / other
    first = next(iter(ratio.below.items()))
    factor = ratio.above.get(first[0])
    return factor is not None and ratio == number(factor / first[1])
