r"""The normal form of a final answer, and when a said one is the right one. Imports no torch.

An answer is a quantity (value, unit, percent), a name set equal to something, a collection in any order (a set, a list,
`a or b`, `\pm a`), a bracketed tuple or interval in order, intervals and their unions (inequalities are read as
such), an equation, a matrix, or words. Two answers are the same only if they are the same kind with the same members:
a part of the answer, or more than the answer, is wrong.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from critica.rewards.math_reader import FUNCTIONS, LETTERS, read_value
from critica.rewards.math_ring import Unreadable, Value, number
from critica.rewards.math_same import same
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
from critica.rewards.math_split import parted
from critica.rewards.math_units import MULTIPLIERS, is_known, unit_of

HEDGES = re.compile(
    r"\?|≈|\\approx|\\sim\b|\b(?:maybe|perhaps|possibly|probably|approximately|about|around|roughly|almost|nearly|either|"
    r"not|isn't|unless|depends|between|likely|guess|unknown|at\s+least|at\s+most|more\s+than|less\s+than)\b",
    re.IGNORECASE,
)
EMPTY = ("\\emptyset", "\\varnothing", "∅", "{}", "\\{\\}")
NAME = re.compile(r"(?:\\?[A-Za-z]+)(?:_\{?\w+\}?)?(?:\([a-z](?:,\s*[a-z])*\))?'*")
POINT = re.compile(r"\([A-Za-z](?:\s*,\s*[A-Za-z])+\)")
ORDER = re.compile(r"<=|>=|\\leq?(?![a-z])|\\geq?(?![a-z])|\\lt(?![a-z])|\\gt(?![a-z])|≤|≥|<|>")
UNIT = re.compile(
    r"(?P<space>\s*)(?P<unit>[A-Za-z°€£¢$][A-Za-z ]*(?:\^\{?\d\}?)?(?:\s*/\s*[A-Za-z]+|\s+per\s+[A-Za-z]+)?)\Z"
)
MATRIX = re.compile(r"\\begin\{[pbvB]?matrix\}(.*)\\end\{[pbvB]?matrix\}\Z", re.DOTALL)
NO_UNITS = FUNCTIONS | LETTERS | frozenset(("sqrt", "infinity", "inf", "mod", "choose", "times", "over"))
OPPOSITE = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def read_form(text: str) -> Form:
    """The normal form of an answer that `math_answers.tidy` has cleaned. Raises `Unreadable`."""
    text = text.strip()
    if not text:
        raise Unreadable("empty")
    if HEDGES.search(text):
        raise Unreadable("hedged")
    if text in EMPTY:
        return Collection(())
    matrix = MATRIX.match(text)
    if matrix:
        rows = [row for row in re.split(r"\\\\", matrix[1]) if row.strip()]
        return Bracketed(
            "m", "m", tuple(Bracketed("r", "r", tuple(read_form(c) for c in row.split("&"))) for row in rows)
        )
    if text.startswith(("\\{", "{")) and text.endswith("}"):
        inner = text.removeprefix("\\").removeprefix("{").removesuffix("}").removesuffix("\\")
        if "|" not in inner and ":" not in inner and "\\mid" not in inner:
            return _collection([read_form(part) for part in parted(inner, (",", ";"))], braced=True)
    united = parted(text, ("\\cup", "∪"))
    if len(united) > 1:
        return _union([read_form(part) for part in united])
    alternatives = parted(text, (" or ", " and ", ";", ",", "\\lor", "\\vee"))
    if len(alternatives) > 1:
        return _collection([read_form(part) for part in alternatives if part.strip()])
    if len(text) > 1 and text[0] in "([" and text[-1] in ")]" and _encloses(text):
        members = parted(text[1:-1], (",", ";"))
        if len(members) > 1:
            return Bracketed(text[0], text[-1], tuple(read_form(part) for part in members))
        return read_form(members[0])
    belongs = parted(text, ("\\in", "∈"))
    if len(belongs) == 2 and NAME.fullmatch(belongs[0].strip()):
        return Named(belongs[0].strip(), read_form(belongs[1]))
    if ORDER.search(text):
        return _inequality(text)
    sides = parted(text, ("=",))
    if len(sides) > 1:
        return _equation([side.strip() for side in sides])
    return _plain(text)


def _encloses(text: str) -> bool:
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if not depth:
            return place == len(text) - 1
    return False


def _collection(members: Sequence[Form], braced: bool = False) -> Form:
    flat = [inner for member in members for inner in (member.members if isinstance(member, Collection) else (member,))]
    names = {member.name for member in flat if isinstance(member, Named)}
    if len(names) == 1 and all(isinstance(member, Named) for member in flat):  # x = 1 or x = 2
        return Named(names.pop(), _collection([member.content for member in flat if isinstance(member, Named)]))
    if names and isinstance(flat[0], Named) and len(names) == 1 and not any(
        isinstance(member, Named) for member in flat[1:]
    ):  # fmt: skip
        return Named(names.pop(), _collection([flat[0].content, *flat[1:]]))  # x = 1, 2
    if flat and all(isinstance(member, Intervals) for member in flat):  # x < 1 or x > 2
        return _union(flat)
    kinds = {member.kind for member in flat if isinstance(member, Quantity)}
    if len(kinds - {""}) > 1:
        raise Unreadable("one answer in several units")
    distinct: list[Form] = []
    for member in flat:
        if not any(same(member, other) for other in distinct):
            distinct.append(member)
    return distinct[0] if len(distinct) == 1 and not braced else Collection(tuple(distinct))


def _union(members: Sequence[Form]) -> Form:
    if any(isinstance(member, Collection) for member in members):
        return _collection(members)
    found = [as_intervals(member) for member in members]
    names = {one.name for one in found if one is not None}
    if any(one is None for one in found) or len(names) > 1:
        raise Unreadable("a union of what are no intervals")
    return Intervals(tuple(piece for one in found if one is not None for piece in one.pieces), names.pop())


def _inequality(text: str) -> Intervals:
    signs = [found[0] for found in ORDER.finditer(text)]
    plain = {"\\le": "<=", "\\leq": "<=", "≤": "<=", "\\ge": ">=", "\\geq": ">=", "≥": ">=", "\\lt": "<", "\\gt": ">"}
    signs = [plain.get(sign, sign) for sign in signs]
    sides = [side.strip() for side in ORDER.split(text)]
    if len(signs) > 2 or (len(signs) == 2 and signs[0][0] != signs[1][0]):
        raise Unreadable("an inequality that goes both ways")
    values = [read_value(side).value for side in sides]
    place = 1 if len(signs) == 2 else 0 if values[0].rational is None else 1
    if not NAME.fullmatch(sides[place]) or values[place].rational is not None:
        raise Unreadable("an inequality that is not solved")
    if any(sides[place] in _letters(value) for number_, value in enumerate(values) if number_ != place):
        raise Unreadable("an inequality that is not solved")
    low: tuple[Value | None, bool] = (None, False)
    high: tuple[Value | None, bool] = (None, False)
    for number_, sign in enumerate(signs):
        left = number_ + 1 == place  # the bound stands on the left of the variable
        sign = OPPOSITE[sign] if left else sign
        bound = (values[number_ if left else number_ + 1], "=" in sign)
        low, high = (bound, high) if sign[0] == ">" else (low, bound)
    return Intervals(((low[0], high[0], low[1], high[1]),), sides[place].removeprefix("\\"))


def _letters(value: Value) -> set[str]:
    return {name for polynomial in (value.above, value.below) for term in polynomial for name, _ in term}


def _equation(sides: Sequence[str]) -> Form:
    if NAME.fullmatch(sides[0]) or (POINT.fullmatch(sides[0]) and len(sides) == 2):
        return Named(sides[0].replace(" ", ""), read_form(sides[-1]))
    values = [read_value(side) for side in sides]
    if all(value.value.rational is not None for value in values):  # 2 + 3 = 5
        return read_form(sides[-1])
    if len(sides) > 2:
        raise Unreadable("several equations in a row")
    return Equation(values[0].value - values[1].value)


def _plain(text: str) -> Form:
    both = re.fullmatch(r"(.*?)(?:\\pm|±)(.*)", text)
    if both:
        one, other = (read_form(f"{both[1]}{sign}{both[2]}") for sign in "+-")
        return _collection([one, other])
    if re.fullmatch(r"[A-Za-z][A-Za-z' -]+", text) and text not in ("pi",):
        return Words(" ".join(text.lower().split()))
    base = re.fullmatch(r"([0-9A-F]+)_\{?(\d+)\}?", text)
    if base:
        return Words(f"{base[1]} in base {base[2]}")
    if re.fullmatch(r"\d+(?::\d+)+", text):
        return Words(text)
    currency = re.fullmatch(r"(-?)(?:\\\$|\$|€|£|\\pounds)\s*(.+)", text)
    if currency:
        sign = {"\\$": "$"}.get(text[len(currency[1]) :][:2], text[len(currency[1])])
        found = _plain(currency[1] + currency[2])
        if not isinstance(found, Quantity) or found.kind:
            raise Unreadable("money of another kind")
        unit = unit_of(sign)
        return Quantity(found.value, *(unit or ("", Fraction(1))), work=found.work)
    percent = re.fullmatch(r"(.+?)\s*(?:\\%|%|percent|per\s*cent)", text)
    if percent:
        read = read_value(percent[1])
        return Quantity(read.value, percent=True, work=read.work)
    degrees = re.fullmatch(r"(.+?)\s*(?:\^\{?\\circ\}?|°|\\degree)", text)
    if degrees:
        read = read_value(degrees[1])
        return Quantity(read.value, "angle", work=read.work)
    united = _with_unit(text)
    if united is not None:
        return united
    read = read_value(text)
    return Quantity(read.value, work=read.work)


def _with_unit(text: str) -> Quantity | None:
    """`5 cm`, `3 million`, `5 red apples`; None if no unit stands at its end."""
    for place in range(1, len(text)):
        if not (text[place - 1].isdigit() or text[place - 1] in ")} ") or text[place] == " ":
            continue
        unit = UNIT.fullmatch(text[place:])
        before, spaced = text[:place].rstrip(), text[place - 1] == " "
        if unit is None or not before or (not spaced and not is_known(unit["unit"])):
            continue
        word, _, rest = unit["unit"].strip().partition(" ")
        if word.lower() in NO_UNITS:
            break
        times, said = (MULTIPLIERS[word.lower()], rest) if word.lower() in MULTIPLIERS else (1, unit["unit"].strip())
        measure = unit_of(said) if said else ("", Fraction(1))
        if measure is None:
            break
        try:
            read = read_value(before)
        except Unreadable:
            break
        return Quantity(read.value * number(times), *measure, work=read.work)
    return None
