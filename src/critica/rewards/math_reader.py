r"""A written expression, LaTeX or plain, as an exact `math_ring.Value`. Bounded in time. Imports no torch.

Reads numbers, letters, + - * / ^ !, juxtaposition, brackets, \frac, \sqrt[n], mixed numbers, absolute values, binomials
and named functions. `work` counts what was left to be calculated: `2+3`, `10/2`, `2^4`, `5!`, `\sqrt{16}`. An answer
that only repeats the calculation is not its result; see `math_forms`.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from critica.rewards.math_ring import Unreadable, Value, letter, number, power, root

MAX_LENGTH, MAX_DEPTH, MAX_FACTORIAL = 400, 30, 60
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3}(?![A-Za-z\d]))?|\.\d+)|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+)"
    r"|(?P<mark>[-+*/^!(){}\[\]|_,&']))"
)
FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "log",
        "ln",
        "exp",
        "lg",
        "det",
        "gcd",
        "lcm",
    ]
)
LETTERS = frozenset(
    [
        "pi",
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "theta",
        "lambda",
        "mu",
        "sigma",
        "tau",
        "phi",
        "varphi",
        "omega",
        "rho",
        "eta",
        "zeta",
        "kappa",
        "xi",
        "psi",
        "infty",
        "ell",
    ]
)
TIMES, DIVIDED = ("*", "\\cdot", "\\times"), ("/", "\\div")
PLAIN = {"inf": "infty", "infinity": "infty", "oo": "infty"}


@dataclass(slots=True)
class Read:
    """A value, how much of its calculation was left undone, and whether it is a bare numeral or a fraction of two."""

    value: Value
    work: int = 0
    numeral: bool = False


def read_value(text: str) -> Read:
    """The value that the whole text is. Raises `Unreadable`."""
    if len(text) > MAX_LENGTH:
        raise Unreadable("longer than an answer is")
    reader = _Reader(text)
    found = reader.sum()
    if reader.peek():
        raise Unreadable(f"{reader.peek()!r} at its end")
    return found


class _Reader:
    """Recursive descent over tokens."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            found = TOKEN.match(text, at)
            if not found:
                raise Unreadable(f"{text[at]!r} in it")
            word = found["word"]
            whole = word is None or word in FUNCTIONS or word in LETTERS or word in PLAIN or word == "sqrt"
            if not whole and word is not None and len(word) > 3:
                raise Unreadable(f"the word {word!r}")
            self.tokens += [found[0].strip()] if whole or word is None else list(word)
            at = found.end()
        self.at, self.depth = 0, 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        if not token:
            raise Unreadable("it ends too early")
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise Unreadable(f"no {token!r} where one belongs")

    def sum(self, bars: bool = True) -> Read:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        total = self.product(bars)
        while self.peek() in ("+", "-"):
            minus = self.take() == "-"
            if self.peek() in ("+", "-"):
                raise Unreadable("two signs in a row")
            other = self.product(bars)
            both = total.value.rational is not None and other.value.rational is not None
            value = total.value - other.value if minus else total.value + other.value
            total = Read(value, total.work + other.work + both)
        self.depth -= 1
        return total

    def product(self, bars: bool) -> Read:
        sign = self.peek() if self.peek() in ("+", "-") else ""
        if sign:
            self.take()
            if self.peek() in ("+", "-"):
                raise Unreadable("two signs in a row")
        total = self.factor(bars)
        while True:
            token = self.peek()
            if token in TIMES:
                self.take()
                scientific = total.numeral and self.tokens[self.at : self.at + 2] == ["10", "^"]
                other = self.factor(bars)
                total = self._multiplied(total, other, scientific)
            elif token in DIVIDED:
                self.take()
                total = self._divided(total, self.factor(bars))
            elif self._starts_factor(token, bars):
                if token[0].isdigit() or token[0] == ".":
                    raise Unreadable("two numbers side by side")
                mixed = total.numeral and token in ("\\frac", "\\dfrac", "\\tfrac")
                other = self.factor(bars)
                total = self._mixed(total, other) if mixed and other.numeral else self._multiplied(total, other, False)
            else:
                break
        return Read(-total.value, total.work, total.numeral) if sign == "-" else total

    def _starts_factor(self, token: str, bars: bool) -> bool:
        if not token or token in (")", "}", "]", "+", "-", "^", "!", "_", ",", "&", "'"):
            return False
        return token != "|" or bars

    def _mixed(self, whole: Read, part: Read) -> Read:
        one, other = whole.value.rational, part.value.rational
        if one is None or other is None or one.denominator != 1 or not 0 < other < 1:
            raise Unreadable("a number before a fraction that is no mixed number")
        return Read(number(one + other), whole.work + part.work)

    def _multiplied(self, one: Read, other: Read, scientific: bool) -> Read:
        both = one.value.rational is not None and other.value.rational is not None
        work = one.work + (0 if scientific else other.work + both)
        return Read(one.value * other.value, work)

    def _divided(self, one: Read, other: Read) -> Read:
        above, below = one.value.rational, other.value.rational
        value = one.value / other.value
        plain = one.numeral and other.numeral
        left = above is not None and below is not None and (not plain or (above / below).denominator == 1)
        return Read(value, one.work + other.work + left, plain and not left)

    def factor(self, bars: bool) -> Read:
        base = self.atom(bars)
        while self.peek() in ("^", "!", "'"):
            token = self.take()
            if token == "^":
                base = self._powered(base, self.exponent(bars))
            elif token == "!":
                base = self._factorial(base)
            else:
                raise Unreadable("a prime")
        return base

    def exponent(self, bars: bool) -> Read:
        if self.peek() == "{":
            return self.group("{", "}")
        if self.peek() in ("+", "-"):
            minus = self.take() == "-"
            found = self.atom(bars)
            return Read(-found.value, found.work) if minus else found
        return self.atom(bars)

    def _powered(self, base: Read, exponent: Read) -> Read:
        value = power(base.value, exponent.value)
        left = base.value.rational is not None and exponent.value.rational is not None and value.rational is not None
        if base.numeral and base.value.rational == 10:  # a power of ten is how large numbers are written
            left = False
        return Read(value, base.work + exponent.work + left)

    def _factorial(self, base: Read) -> Read:
        found = base.value.rational
        if found is None or found.denominator > 1 or not 0 <= found <= MAX_FACTORIAL:
            raise Unreadable("a factorial of this")
        return Read(number(math.factorial(int(found))), base.work + 1)

    def group(self, opening: str, closing: str) -> Read:
        self.expect(opening)
        found = self.sum()
        self.expect(closing)
        return Read(found.value, found.work, found.numeral)

    def atom(self, bars: bool) -> Read:
        token = self.peek()
        if token in ("(", "{"):
            return self.group(token, ")" if token == "(" else "}")
        if token == "[":
            return self.group("[", "]")
        if token == "|" and bars:
            self.take()
            found = self.sum(bars=False)
            self.expect("|")
            inner = found.value.rational
            if inner is None:
                return Read(letter(f"|{found.value.spelled()}|"), found.work)
            return Read(number(abs(inner)), found.work + 1)
        self.take()
        if token[:1].isdigit() or token[:1] == ".":
            return Read(number(Fraction(token)), 0, True)
        if token in ("\\frac", "\\dfrac", "\\tfrac", "\\cfrac"):
            return self._divided(self._argument(), self._argument())
        if token in ("\\binom", "\\dbinom", "\\tbinom"):
            return self._binomial(self._argument(), self._argument())
        if token in ("\\sqrt", "sqrt"):
            return self._rooted()
        name = token.removeprefix("\\")
        if name in FUNCTIONS:
            return self._function(name)
        name = PLAIN.get(name, name)
        if token.startswith("\\") and name not in LETTERS:
            raise Unreadable(f"{token} in it")
        if not name[:1].isalpha():
            raise Unreadable(f"{token!r} where a value belongs")
        return Read(letter(self._subscripted(name)))

    def _subscripted(self, name: str) -> str:
        if self.peek() != "_":
            return name
        self.take()
        if self.peek() != "{":
            return f"{name}_{self.take()}"
        start = self.at
        while self.take() != "}":
            pass
        return f"{name}_{''.join(self.tokens[start + 1 : self.at - 1])}"

    def _argument(self) -> Read:
        """A LaTeX argument: a group, or one symbol, which for `\\frac34` is one digit."""
        if self.peek() == "{":
            return self.group("{", "}")
        token = self.peek()
        if token.isdigit() and len(token) > 1:
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        return self.atom(bars=True)

    def _rooted(self) -> Read:
        degree = 2
        if self.peek() == "[":
            found = self.group("[", "]").value.rational
            if found is None or found.denominator > 1:
                raise Unreadable("a root of this degree")
            degree = int(found)
        inner = self._argument()
        value = root(inner.value, degree)
        return Read(value, inner.work + (value.rational is not None))

    def _binomial(self, above: Read, below: Read) -> Read:
        n, k = above.value.rational, below.value.rational
        if n is None or k is None or n.denominator > 1 or k.denominator > 1 or not 0 <= k <= n <= MAX_FACTORIAL:
            raise Unreadable("a binomial of this")
        return Read(number(math.comb(int(n), int(k))), above.work + below.work + 1)

    def _function(self, name: str) -> Read:
        if self.peek() == "_":
            name = self._subscripted(name)
        times = self.exponent(bars=True) if self.peek() == "^" and self.take() else None
        enclosed = self.peek() in ("(", "{")
        inner = self.factor(bars=True)
        while (
            not enclosed and self._starts_factor(self.peek(), False) and self.peek().removeprefix("\\") not in FUNCTIONS
        ):
            inner = self._multiplied(inner, self.factor(bars=False), False)  # \cos 2\theta
        value = letter(f"{name}({inner.value.spelled()})")
        return Read(value if times is None else power(value, times.value), inner.work)
