"""Ratios of readings made in the same round, their median and spread, and whether they meet what was promised."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from critica.benches.readings import Journal

Quantity = Literal["seconds", "tokens_per_second", "peak_mib"]
Rule = Literal["at least", "at most", "informative"]


@dataclass(frozen=True, slots=True)
class Promise:
    """`ratio` of two contenders of a match, and the bound it must keep.

    seconds: how many times longer `of` takes than `to`. tokens_per_second: `of` over `to`. peak_mib: `of` over `to`.
    """

    title: str
    match: str
    of: str
    to: str
    quantity: Quantity
    rule: Rule
    bound: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise measured: the median of the rounds' ratios, its extremes, and how many rounds were disturbed."""

    promise: Promise
    ratio: float
    low: float
    high: float
    of: float
    to: float
    rounds: int
    disturbed: int

    @property
    def kept(self) -> bool | None:
        """Whether the bound holds; None where there is no bound."""
        if self.promise.rule == "informative":
            return None
        return self.ratio >= self.promise.bound if self.promise.rule == "at least" else self.ratio <= self.promise.bound


def judge(promise: Promise, journal: Journal) -> Verdict | None:
    """The verdict over quiet rounds if there are any, else over all of them; None if nothing was read."""
    pair = (promise.of, promise.to)
    done, quiet = journal.rounds_done(pair), journal.quiet_rounds(pair)
    used = quiet or done
    if not used:
        return None
    of, to = (values(journal, name, promise.quantity, used) for name in pair)
    ratios = [a / b for a, b in zip(of, to, strict=True)]
    return Verdict(
        promise, median(ratios), min(ratios), max(ratios), median(of), median(to), len(used), len(done) - len(quiet)
    )


def values(journal: Journal, contender: str, quantity: Quantity, rounds: Sequence[int]) -> list[float]:
    """One number a round, in the order of `rounds`."""
    found = {reading.round: reading for reading in journal.readings if reading.contender == contender}
    chosen = [found[number] for number in rounds]
    if quantity == "seconds":
        return [reading.seconds_per_unit for reading in chosen]
    if quantity == "tokens_per_second":
        return [reading.tokens_per_second for reading in chosen]
    return [reading.peak_mib for reading in chosen]


def largest_deviation(numbers: Sequence[float]) -> float:
    """max |x / median - 1|."""
    middle = median(numbers)
    return max(abs(number / middle - 1.0) for number in numbers)
