"""The kinds of normal form that an answer can have; `math_forms` reads them, `math_same` compares them."""

from dataclasses import dataclass
from fractions import Fraction

from critica.rewards.math_ring import Value, letter


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value, the unit that it was said with ("" for none), and whether it was a percentage (of its own number)."""

    value: Value
    kind: str = ""
    factor: Fraction = Fraction(1)
    percent: bool = False
    work: int = 0


@dataclass(frozen=True, slots=True)
class Named:
    """name = content."""

    name: str
    content: "Form"


@dataclass(frozen=True, slots=True)
class Collection:
    """Members in any order; duplicates are one."""

    members: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Bracketed:
    """Members in order, in ( or [ each side: a point, a vector, an interval."""

    left: str
    right: str
    members: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Intervals:
    """A union of intervals (low, high, low included, high included); `name` is the variable of an inequality, or "".

    `None` as an end is infinity on that side.
    """

    pieces: tuple[tuple[Value | None, Value | None, bool, bool], ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Equation:
    """left = right, as left - right."""

    difference: Value


@dataclass(frozen=True, slots=True)
class Words:
    """A text, without case and outer marks."""

    text: str


Form = Quantity | Named | Collection | Bracketed | Intervals | Equation | Words
INFINITY = letter("infty")


def as_intervals(form: Form) -> Intervals | None:
    """An interval, a set equal to one, or a pair in brackets, as intervals; None for anything else."""
    if isinstance(form, Intervals):
        return form
    if isinstance(form, Named):
        inner = as_intervals(form.content)
        return None if inner is None else Intervals(inner.pieces, form.name)
    if isinstance(form, Bracketed) and len(form.members) == 2 and form.left in "([":
        ends = [member.value if isinstance(member, Quantity) and not member.kind else None for member in form.members]
        if ends[0] is None or ends[1] is None:
            return None
        low, high = (None if ends[0] == -INFINITY else ends[0]), (None if ends[1] == INFINITY else ends[1])
        return Intervals(((low, high, form.left == "[" and low is not None, form.right == "]" and high is not None),))
    return None
