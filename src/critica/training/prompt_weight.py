"""The effective prompt weight of a group estimator: its expected gradient is W(p) grad p, exactly, for right or wrong.

One-step answers that are right or wrong are exchangeable, so that a group is known by how many are right: n + 1 cases
instead of actions^n. `by_groups` walks every group of a small game all the same: it is what `by_counts` is tested with,
and the only way where answers differ in length.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb, factorial, sqrt

import torch

from critica.training.group_estimator import GroupEstimator


@dataclass(frozen=True, slots=True)
class Weight:
    """At success rate p: E[estimate] = weight * grad p, and the deviation of one group's estimate along grad p, in
    units of its mean (infinite where the mean is 0)."""

    p: float
    weight: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Curve:
    """W(p) of one estimator for groups of `size`; `couples`: what follows holds for a step of two prompts, the other
    one solved half of the time, because its outcomes have a say too."""

    size: int
    couples: bool
    weights: tuple[Weight, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """How one composition of a step pulls: the chance of the other prompt's part of it, and the pulls of right and
    wrong answers of the first prompt, `right` of which are right."""

    right: int
    chance: float
    pulls: tuple[float, ...]


def by_counts(estimator: GroupEstimator, size: int, rates: Sequence[float], others: float = 0.5) -> Curve:
    """The curve, from the compositions of a group. `others`: how often a second prompt of the step is solved."""
    couples = estimator.couples_prompts(size)
    curves = {greedy: cases(estimator, size, couples, others, greedy) for greedy in {0.0, float(estimator.asks_greedy)}}
    found = []
    for p in rates:
        greedy = 1.0 if estimator.asks_greedy and p > 0.5 else 0.0  # the likelier answer of two
        found.append(weigh(curves[greedy], size, p))
    return Curve(size, couples, tuple(found))


def cases(estimator: GroupEstimator, size: int, couples: bool, others: float, greedy: float) -> list[Case]:
    """Every composition of the first prompt's group with, where they have a say, every one of the second's."""
    groups = [[1.0] * right + [0.0] * (size - right) for right in range(size + 1)]
    if not couples:  # all in one step
        found = estimator.pulls(groups, greedy=(greedy,) * len(groups))
        return [Case(right, 1.0, tuple(pulls)) for right, pulls in enumerate(found)]
    made = []
    for (right, group), (more, other) in itertools.product(enumerate(groups), repeat=2):
        pulls = estimator.pulls([group, other], greedy=(greedy, float(others > 0.5)))[0]
        made.append(Case(right, binomial(more, size, others), tuple(pulls)))
    return made


def weigh(found: Sequence[Case], size: int, p: float) -> Weight:
    """The first two moments along grad p = p (1 - p): a right answer's score is 1 - p there, a wrong one's -p."""
    mean = square = 0.0
    for case in found:
        chance = case.chance * binomial(case.right, size, p)
        estimate = (1 - p) * sum(case.pulls[: case.right]) - p * sum(case.pulls[case.right :])
        mean, square = mean + chance * estimate, square + chance * estimate**2
    slope = p * (1 - p)
    spread = sqrt(max(0.0, square - mean**2))
    return Weight(p, mean / slope, spread / abs(mean) if mean else float("inf"))


def binomial(count: int, size: int, p: float) -> float:
    """P(count of size)."""
    return comb(size, count) * p**count * (1 - p) ** (size - count)


@dataclass(frozen=True, slots=True)
class Game:
    """One decision among a few answers: how likely each is, what it earns, and how many tokens it takes."""

    chances: tuple[float, ...]
    outcomes: tuple[float, ...]
    lengths: tuple[int, ...] = ()

    @property
    def return_slope(self) -> torch.Tensor:
        """grad of the expected outcome with respect to the answers' logits."""
        chances = torch.tensor(self.chances, dtype=torch.float64)
        return (chances * torch.tensor(self.outcomes, dtype=torch.float64)) @ (torch.eye(len(chances)) - chances)

    @property
    def greedy(self) -> float:
        """What the likeliest answer earns."""
        return self.outcomes[max(range(len(self.chances)), key=self.chances.__getitem__)]


@dataclass(frozen=True, slots=True)
class Expected:
    """E[estimate] = weight * grad J + what points elsewhere; `astray` is that part's norm over the whole's.

    `deviation`: root of the estimate's total variance, over the norm of its mean.
    """

    weight: float
    astray: float
    deviation: float


def by_groups(estimator: GroupEstimator, game: Game, size: int, exchangeable: bool = False) -> Expected:
    """Every group of `size` answers, weighted by its probability.

    `exchangeable`: groups with the same answers in another order are walked once, for estimators that do not look at
    the order (all of the catalogue; a tie broken by position does).
    """
    chances = torch.tensor(game.chances, dtype=torch.float64)
    scores = torch.eye(len(chances), dtype=torch.float64) - chances
    mean, square = torch.zeros_like(chances), 0.0
    walk = itertools.combinations_with_replacement if exchangeable else _product
    groups = [list(actions) for actions in walk(range(len(chances)), size)]
    for chosen, pulls in zip(groups, _pulls(estimator, game, groups), strict=True):
        estimate = torch.tensor(pulls, dtype=torch.float64) @ scores[chosen]
        chance = float(chances[chosen].prod()) * (orders(chosen) if exchangeable else 1)
        mean, square = mean + chance * estimate, square + chance * float(estimate @ estimate)
    slope = game.return_slope
    weight = float(mean @ slope / (slope @ slope))
    size_of_mean = float(mean.norm())
    if not size_of_mean:
        return Expected(0.0, 0.0, float("inf"))
    astray = float((mean - weight * slope).norm()) / size_of_mean
    return Expected(weight, astray, sqrt(max(0.0, square - size_of_mean**2)) / size_of_mean)


def _pulls(estimator: GroupEstimator, game: Game, groups: list[list[int]]) -> list[list[float]]:
    """Of each group as the only one of a step; all at once where they do not feel each other."""
    told = [[game.outcomes[action] for action in chosen] for chosen in groups]
    if not game.lengths and not estimator.couples_prompts(len(groups[0])):
        return estimator.pulls(told, greedy=(game.greedy,) * len(groups))
    lengths = [[game.lengths[action] for action in chosen] if game.lengths else [1] * len(chosen) for chosen in groups]
    return [estimator.pulls([one], [long], (game.greedy,))[0] for one, long in zip(told, lengths, strict=True)]


def _product(actions: Iterable[int], size: int) -> Iterable[tuple[int, ...]]:
    return itertools.product(actions, repeat=size)


def orders(chosen: Sequence[int]) -> int:
    """In how many orders these answers can be written."""
    count = factorial(len(chosen))
    for action in set(chosen):
        count //= factorial(chosen.count(action))
    return count
