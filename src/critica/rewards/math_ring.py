"""Exact values of written mathematics: quotients of polynomials in letters, pi, i and roots, over the rationals.

Two expressions are the same value if and only if their difference is the zero polynomial after cross-multiplying, so
`1/sqrt(2)` is `sqrt(2)/2` and `(x+1)^2` is `x^2+2x+1` without any rounding. What is not in the ring (a sine, a root of
a sum, `x^y`) is a letter of its own, known by its spelling: `log 4` and `2 log 2` are then different, which makes a
right answer wrong, never a wrong one right. Bounded in size, hence in time. Imports no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

MAX_TERMS, MAX_POWER, MAX_BITS, MAX_RADICAND = 120, 40, 4000, 10**8
Monomial = tuple[tuple[str, int], ...]  # (letter, power), sorted; roots are letters such as "2^(1/3)"
Polynomial = Mapping[Monomial, Fraction]
ROOT = "root:"


class Unreadable(ValueError):
    """A text that is no single mathematical value as we read it, or one too large to be looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """above / below; below is never the zero polynomial."""

    above: Polynomial
    below: Polynomial

    @property
    def rational(self) -> Fraction | None:
        """The number it is, if it is rational."""
        if set(self.above) <= {()} and set(self.below) == {()}:
            return self.above.get((), Fraction(0)) / self.below[()]
        return None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Value):
            return NotImplemented
        return _times(self.above, other.below) == _times(other.above, self.below)

    __hash__ = None  # type: ignore[assignment]  # equal values may be spelled differently

    def __add__(self, other: "Value") -> "Value":
        if self.below == other.below:
            return make(_plus(self.above, other.above), self.below)
        return make(_plus(_times(self.above, other.below), _times(other.above, self.below)),
                    _times(self.below, other.below))  # fmt: skip

    def __neg__(self) -> "Value":
        return Value({term: -factor for term, factor in self.above.items()}, self.below)

    def __sub__(self, other: "Value") -> "Value":
        return self + -other

    def __mul__(self, other: "Value") -> "Value":
        return make(_times(self.above, other.above), _times(self.below, other.below))

    def __truediv__(self, other: "Value") -> "Value":
        if not other.above:
            raise Unreadable("a division by zero")
        return make(_times(self.above, other.below), _times(self.below, other.above))

    def spelled(self) -> str:
        """One text for it; equal values are usually spelled alike."""
        return f"({_spelled(self.above)})/({_spelled(self.below)})"


def number(value: Fraction | int) -> Value:
    """A rational number."""
    return Value({(): Fraction(value)} if value else {}, {(): Fraction(1)})


def letter(name: str) -> Value:
    """A letter, or anything that is known by its spelling alone."""
    return Value({((name, 1),): Fraction(1)}, {(): Fraction(1)})


def make(above: Polynomial, below: Polynomial) -> Value:
    """The quotient with a denominator of one term divided out."""
    if len(below) == 1:
        ((term, factor),) = below.items()
        above = _times(above, _inverse(term, factor))
        below = {(): Fraction(1)}
        lowest: dict[str, int] = {}
        for found in above:
            for name, power in found:
                lowest[name] = min(lowest.get(name, 0), power)
        if any(power < 0 for power in lowest.values()):  # x in the denominator stays there
            lift = tuple(sorted((name, -power) for name, power in lowest.items() if power < 0))
            return Value(_times(above, {lift: Fraction(1)}), {lift: Fraction(1)})
    return Value(above, below)


def power(base: Value, exponent: Value) -> Value:
    """base^exponent: exact for whole and half, third, … exponents of numbers, else a letter of its own."""
    said = exponent.rational
    if said is None or (said.denominator > 1 and base.rational is None):
        return letter(f"({base.spelled()})^({exponent.spelled()})")
    if said.denominator > 1:
        return power(root(base, said.denominator), number(said.numerator))
    whole = said.numerator
    found = base.rational
    if found is not None:
        if abs(whole) * max(found.numerator.bit_length(), found.denominator.bit_length()) > MAX_BITS:
            raise Unreadable("a power that is too large")
        if found == 0 and whole <= 0:
            raise Unreadable("a power of zero")
        return number(found**whole)
    if abs(whole) > MAX_POWER:
        raise Unreadable("a power that is too large")
    result = number(1)
    for _ in range(abs(whole)):
        result = result * base
    return result if whole >= 0 else number(1) / result


def root(base: Value, degree: int) -> Value:
    """The principal root of a rational; of anything else a letter of its own."""
    found = base.rational
    if found is None:
        return letter(f"({base.spelled()})^(1/{degree})")
    if not 2 <= degree <= MAX_POWER:
        raise Unreadable("a root of this degree")
    if found < 0 and degree % 2 == 0:
        return (letter("i") if degree == 2 else letter(f"i^({Fraction(2, degree)})")) * root(number(-found), degree)
    inner = abs(found.numerator) * found.denominator ** (degree - 1)
    if inner > MAX_RADICAND:
        exact = _whole_root(inner, degree)
        if exact is None:
            raise Unreadable("a root of a number that is too large")
        outside, inside = exact, 1
    else:
        outside, inside = _split_root(inner, degree)
    sign = -1 if found < 0 else 1
    scale = number(Fraction(sign * outside, found.denominator))
    return scale if inside <= 1 else scale * letter(f"{ROOT}{degree}:{inside}")


def _whole_root(inner: int, degree: int) -> int | None:
    if inner.bit_length() > MAX_BITS:
        raise Unreadable("a root of a number that is too large")
    low, high = 0, 1 << (inner.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= inner else (low, middle - 1)
    return low if low**degree == inner else None


def _split_root(inner: int, degree: int) -> tuple[int, int]:
    """inner = outside^degree * inside with the largest outside."""
    outside, factor = 1, 2
    inside = inner
    while factor**degree <= inside:
        while inside % factor**degree == 0:
            inside //= factor**degree
            outside *= factor
        factor += 1
    return (0, 1) if inner == 0 else (outside, inside)


def _small(inner: int) -> int:
    if inner > MAX_RADICAND:
        raise Unreadable("a root of a number that is too large")
    return inner


def _inverse(term: Monomial, factor: Fraction) -> Polynomial:
    """1 / (factor * term): a root is rationalized, a letter gets a negative power."""
    scale, parts = 1 / factor, []
    for name, times in term:
        if name.startswith(ROOT):
            degree, inside = map(int, name.removeprefix(ROOT).split(":"))
            outside, rest = _split_root(_small(inside ** (degree - 1)) if degree > 2 else inside, degree)
            parts.append((f"{ROOT}{degree}:{rest}", 1))
            scale *= Fraction(outside, inside)
        elif name == "i":
            parts.append((name, 1))
            scale = -scale if times == 1 else scale
        else:
            parts.append((name, -times))
    return {tuple(sorted(parts)): scale}


def _plus(one: Polynomial, other: Polynomial) -> dict[Monomial, Fraction]:
    total = dict(one)
    for term, factor in other.items():
        total[term] = total.get(term, Fraction(0)) + factor
    return _checked({term: factor for term, factor in total.items() if factor})


def _times(one: Polynomial, other: Polynomial) -> dict[Monomial, Fraction]:
    total: dict[Monomial, Fraction] = {}
    if len(one) * len(other) > MAX_TERMS**2:
        raise Unreadable("an expression of too many terms")
    for left, a in one.items():
        for right, b in other.items():
            term, scale = _joined(left, right)
            total[term] = total.get(term, Fraction(0)) + a * b * scale
    return _checked({term: factor for term, factor in total.items() if factor})


def _joined(left: Monomial, right: Monomial) -> tuple[Monomial, Fraction | int]:
    """The product of two monomials: i^2 = -1, and roots of one degree become one root."""
    if not left or not right:
        return left or right, 1
    powers: dict[str, int] = dict(left)
    for name, times in right:
        powers[name] = powers.get(name, 0) + times
    scale = Fraction(1)
    degrees = {name.split(":")[1] for name in powers if name.startswith(ROOT)}
    for degree in degrees:
        names = [name for name in powers if name.startswith(f"{ROOT}{degree}:")]
        outside, inside = 1, 1
        for factor in [int(name.split(":")[2]) for name in names for _ in range(powers[name])]:
            if degree == "2":  # both are free of squares: what they share comes out
                shared = math.gcd(inside, factor)
                out, inside = shared, inside // shared * (factor // shared)
            else:
                out, inside = _split_root(_small(inside * factor), int(degree))
            outside *= out
        for name in names:
            del powers[name]
        scale *= outside
        if inside > 1:
            powers[f"{ROOT}{degree}:{inside}"] = 1
    if "i" in powers:
        times = powers.pop("i") % 4
        scale *= -1 if times >= 2 else 1
        if times % 2:
            powers["i"] = 1
    return tuple(sorted((name, times) for name, times in powers.items() if times)), scale


def _checked(polynomial: dict[Monomial, Fraction]) -> dict[Monomial, Fraction]:
    if len(polynomial) > MAX_TERMS:
        raise Unreadable("an expression of too many terms")
    for factor in polynomial.values():
        if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > 2 * MAX_BITS:
            raise Unreadable("a number that is too large")
    return polynomial


def _spelled(polynomial: Polynomial) -> str:
    return "+".join(f"{factor}*{term}" for term, factor in sorted(polynomial.items()))
