"""Samples go where the critic's forecast promises most: failures worth learning from, or groups that are mixed."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from critica.functional.budget import allocate_exactly, allocate_greedily, mixed_chance, tell_apart
from critica.rollout.budget import BudgetProblem, BudgetRule, Standing


@dataclass(frozen=True, slots=True)
class ForecastBudget(BudgetRule):
    """All samples at once, from `fewest` to `most` a prompt; evenly where the forecasts tell no prompts apart."""

    fewest: int = 2
    most: int = 32
    reads_forecasts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.fewest <= self.most:
            raise BudgetProblem(
                f"budget.fewest={self.fewest} and budget.most={self.most}: it takes 1 <= fewest <= most"
            )

    def bounds(self, samples_per_prompt: int) -> tuple[int, int]:
        return self.fewest, self.most

    def wants(self, standing: Standing) -> tuple[int, ...]:
        rates = standing.rates.tolist()
        if any(standing.written):
            return (0,) * standing.prompts
        if not tell_apart(rates):
            return (standing.mean,) * standing.prompts
        return self.allocate(standing.prompts * standing.mean, rates)

    @abstractmethod
    def allocate(self, total: int, rates: Sequence[float]) -> tuple[int, ...]:
        """`total` samples among prompts whose success is forecast at these rates."""


@dataclass(frozen=True, slots=True)
class ExpectedFailures(ForecastBudget):
    """The most expected failures in mixed groups, sum of U(B, p) = B (1 - p) [1 - (1 - p)^(B - 1)] (V_0).

    p: the critic's forecast of success. Greedy as published (arXiv 2602.03584, B from 2 to 128), or the best by
    dynamic programming with `exact`. Prompts that are forecast alike get alike.
    Use it where prompts differ in difficulty by what their text says and the record is some hundred prompts long. It
    favors prompts that mostly fail, and U is convex there: one of several prompts forecast at .05 may get `most` and
    the others `fewest`. A prompt's share of the loss grows with its samples; that is meant. With `fewest` = `most` it
    is uniform. Costs prompts x total x (most - fewest) when exact, nothing worth naming when greedy.
    """

    exact: bool = False

    def allocate(self, total: int, rates: Sequence[float]) -> tuple[int, ...]:
        give = allocate_exactly if self.exact else allocate_greedily
        return give(total, rates, self.fewest, self.most)


@dataclass(frozen=True, slots=True)
class MixedGroups(ForecastBudget):
    """The most expected groups that hold a success and a failure: sum of 1 - p^B - (1 - p)^B.

    p: the critic's forecast of success. Our choice beside V_0's utility: a group baseline learns from mixed groups
    alone, this counts those whatever their size, and treats p and 1 - p alike. It is concave in B, so that giving
    greedily is best and prompts forecast alike get alike. Use it with critics that compare siblings; with a baseline
    for the prompt even groups without variance teach. The same cost as `ExpectedFailures`, greedy.
    """

    def allocate(self, total: int, rates: Sequence[float]) -> tuple[int, ...]:
        return allocate_greedily(total, rates, self.fewest, self.most, mixed_chance)
