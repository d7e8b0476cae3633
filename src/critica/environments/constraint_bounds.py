"""How many a sentence asks for: `at least five`, `between 50 and 100`, `must not exceed 3`. Imports no torch."""

import re
from dataclasses import dataclass

WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
SPELLED = {word: str(value) for value, word in enumerate(WORDS)} | {"a single": "1", "hundred": "100"}
NUMBER = r"(\d+)"
RANGES = (
    rf"\bbetween {NUMBER} (?:and|to) {NUMBER}",
    rf"\bfrom {NUMBER} to {NUMBER}",
    rf"\b{NUMBER}\s*(?:-|–|~|to)\s*{NUMBER}",
)
BELOW = (rf"\b(?:fewer|less) than {NUMBER}", rf"\bunder {NUMBER}")
ABOVE = (rf"(?<!no )\b(?:more|greater) than {NUMBER}", rf"\bover {NUMBER}")
LOWEST = (
    rf"\b(?:at least|no fewer than|no less than|not less than|not fewer than|minimum(?: of)?):? {NUMBER}",
    rf"{NUMBER} or more",
)
HIGHEST = (
    rf"\b(?:at most|no more than|not more than|up to|maximum(?: of)?|no longer than):? {NUMBER}",
    rf"\b(?:not|never) (?:to )?exceed(?:ing)? {NUMBER}",
    rf"\blimit(?:ed)?(?: (?:it|them|the \w+))?(?: (?:to|of))?(?: a maximum of)?:? {NUMBER}",
    rf"{NUMBER} or (?:fewer|less)",
)
EXACT = (rf"\bexactly:? {NUMBER}", rf"\bequal to {NUMBER}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many are right: from `low` to `high`, both included; no `high` is no upper limit."""

    low: int = 0
    high: int | None = None

    def hold(self, count: int) -> bool:
        """Whether a count is within them."""
        return self.low <= count and (self.high is None or count <= self.high)


def in_digits(text: str) -> str:
    """Lower case, one blank between words, spelled numbers up to twenty as digits."""
    plain = " ".join(text.lower().split())
    return re.sub(r"\b(" + "|".join(SPELLED) + r")\b", lambda found: SPELLED[found[1]], plain)


def read_bounds(text: str, noun: str) -> Bounds | None:
    """The bounds that a sentence in digits sets; None if it sets none, or several that do not fit together.

    A number alone counts only right before the noun: `3 paragraphs` is exactly three.
    """
    for pattern in RANGES:
        found = re.search(pattern, text)
        if found:
            low, high = int(found[1]), int(found[2])
            return Bounds(low, high) if low <= high else None
    low = _first(text, LOWEST, 0) if _first(text, LOWEST, 0) is not None else _first(text, ABOVE, 1)
    high = _first(text, HIGHEST, 0) if _first(text, HIGHEST, 0) is not None else _first(text, BELOW, -1)
    if low is not None or high is not None:
        return Bounds(low or 0, high) if high is None or (low or 0) <= high else None
    exact = _first(text, EXACT, 0)
    if exact is None:
        alone = re.search(rf"\b{NUMBER} (?:\w+ )?{noun}", text)
        exact = int(alone[1]) if alone and len(re.findall(r"\d+", text)) == 1 else None
    return None if exact is None else Bounds(exact, exact)


def _first(text: str, patterns: tuple[str, ...], shift: int) -> int | None:
    for pattern in patterns:
        found = re.search(pattern, text)
        if found:
            return int(found[1]) + shift
    return None
