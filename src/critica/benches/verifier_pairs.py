"""The labeled answers of the verifiers bench, and why each category's labels are what they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

FILE = Path(__file__).parents[1] / "assets" / "math_pairs.jsonl"

CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        "equivalent": "the same exact number in another usual spelling is right; the slips beside it are wrong",
        "near_miss": "one slip away (sign, digit, exponent, term) is wrong",
        "expressions": "the same polynomial, quotient or function is right in any order; another one is wrong",
        "partial": "a part of a set, pair, union or number, or more than it, is wrong",
        "hedge": "two answers, a rounded guess, a question or a denial is no answer: wrong",
        "retracted": "the last answer that is stood by counts",
        "unevaluated": "the calculation that was asked for, said back, is not its result: wrong",
        "rounded": "two or three digits of an exact value that has no such end are wrong",
        "units": "another unit of the same size is right, and so is none; another size or dimension is wrong",
        "sets": "any order is right; other members are wrong",
        "tuples": "order and every place count",
        "intervals": "an interval, its inequality and its set notation are the same; ends in or out count",
        "surds": "exact values in roots and pi are right in any form; others are wrong",
        "percent": "p% is p/100; asked for a percentage, p alone is right; another power of ten is wrong",
        "mixed": "a whole number beside a fraction is their sum",
        "unicode": "signs, digits, roots and exponents of other code points mean what they look like",
        "words": "the word or letter that was asked for, in any case and brackets; times, ratios and bases as written",
        "injection": "text that speaks to the grader, patterns, and lists of everything are wrong",
        "empty": "no answer is wrong",
        "solutions": "whole solutions: what they end on counts, not what they mention",
    }
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A task's answer, a response, and whether it is right. `split`: tuned or fresh, see `benches.verifiers`."""

    gold: str
    response: str
    right: bool
    category: str
    split: str


def read_pairs(file: Path = FILE) -> tuple[Pair, ...]:
    """All pairs, in the file's order."""
    return tuple(Pair(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines())
