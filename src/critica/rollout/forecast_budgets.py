"""Samples go where the critic's forecast promises most: failures worth learning from, or groups that are mixed."""

from dataclasses import dataclass
from typing import ClassVar

from critica.functional.budget import allocate_exactly, allocate_greedily, mixed_chance, tell_apart
from critica.rollout.budget import BudgetProblem, BudgetRule, Standing


@dataclass(frozen=True, slots=True)
class ExpectedFailures(BudgetRule):
    """The most expected failures in mixed groups, sum of U(B, p) = B (1 - p) [1 - (1 - p)^(B - 1)] (V_0).

    p: the critic's forecast of success. Greedy as published (arXiv 2602.03584, B from 2 to 128), or the best by
    dynamic programming with `exact`. Prompts that are forecast alike get alike.
    Use it where prompts differ in difficulty by what their text says and the record is some hundred prompts long. It
    favors prompts that mostly fail, and U is convex there: one of several prompts forecast at .05 may get `most` and
    the others `fewest`. A prompt's share of the loss grows with its samples; that is meant. With `fewest` = `most` it
    is uniform. Costs prompts x total x (most - fewest) when exact, nothing worth naming when greedy.
    """

    fewest: int = 2
    most: int = 32
    exact: bool = False
    reads_forecasts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.fewest, self.most)

    def bounds(self, samples_per_prompt: int) -> tuple[int, int]:
        return self.fewest, self.most

    def wants(self, standing: Standing) -> tuple[int, ...]:
        rates, total = standing.rates.tolist(), standing.prompts * standing.mean
        if any(standing.written):
            return (0,) * standing.prompts
        if not tell_apart(rates):
            return (standing.mean,) * standing.prompts
        allocate = allocate_exactly if self.exact else allocate_greedily
        return allocate(total, rates, self.fewest, self.most)


@dataclass(frozen=True, slots=True)
class MixedGroups(BudgetRule):
    """The most expected groups that hold a success and a failure: sum of 1 - p^B - (1 - p)^B.

    p: the critic's forecast of success. Our choice beside V_0's utility: a group baseline learns from mixed groups
    alone, this counts those whatever their size, and treats p and 1 - p alike. It is concave in B, so that giving
    greedily is best and prompts forecast alike get alike. Use it with critics that compare siblings; with a baseline
    for the prompt even groups without variance teach. The same cost as `ExpectedFailures`, greedy.
    """

    fewest: int = 2
    most: int = 32
    reads_forecasts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.fewest, self.most)

    def bounds(self, samples_per_prompt: int) -> tuple[int, int]:
        return self.fewest, self.most

    def wants(self, standing: Standing) -> tuple[int, ...]:
        rates, total = standing.rates.tolist(), standing.prompts * standing.mean
        if any(standing.written):
            return (0,) * standing.prompts
        if not tell_apart(rates):
            return (standing.mean,) * standing.prompts
        return allocate_greedily(total, rates, self.fewest, self.most, mixed_chance)


def _check(fewest: int, most: int) -> None:
    if not 1 <= fewest <= most:
        raise BudgetProblem(f"budget.fewest={fewest} and budget.most={most}: it takes 1 <= fewest <= most")
