"""Which power of count weights suits a set of prompts: the one whose step gains most for its noise.

The one-dimensional choice of RL2ML (arXiv 2605.30154), whose own rule is not known to us; this one is ours: of the
prompts' success rates p, taken to be Beta distributed, the power with the largest

    E[m'(p) W(p) p (1 - p)] / sqrt(E[variance of one group's estimate]),

m the metric that one cares for: p itself, or pass@k = 1 - (1 - p)^k. p (1 - p) is how far a unit of gradient moves p.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, fsum, sqrt

from critica.advantages.count_weighted import CountWeighted, PowerWeights
from critica.recipes.base import Recipe
from critica.training.group_estimator import GroupEstimator
from critica.training.prompt_weight import cases, weigh

POWERS = tuple(number / 10 for number in range(21))
LOGITS = tuple(number / 10 for number in range(-80, 81))  # where the law of p is read: from 0.0003 to 0.9997


@dataclass(frozen=True, slots=True)
class RateLaw:
    """Beta(a, b), fitted to counts by moments."""

    a: float
    b: float

    @property
    def mean(self) -> float:
        """Of the success rate."""
        return self.a / (self.a + self.b)

    def points(self) -> list[tuple[float, float]]:
        """(p, probability) over the grid of logits."""
        rates = [1 / (1 + exp(-logit)) for logit in LOGITS]
        mass = [p**self.a * (1 - p) ** self.b for p in rates]  # the density of the logit
        return [(p, one / fsum(mass)) for p, one in zip(rates, mass, strict=True)]


@dataclass(frozen=True, slots=True)
class PowerChoice:
    """The score of each power, in units of the largest, and the law it was judged by."""

    law: RateLaw
    scores: tuple[tuple[float, float], ...]

    @property
    def best(self) -> float:
        """The power with the largest score."""
        return max(self.scores, key=lambda pair: pair[1])[0]


def fit_rates(counts: Sequence[tuple[int, float]]) -> RateLaw:
    """The Beta law of success rates behind (answers, right ones) of each prompt.

    E[p^2] is estimated by right (right - 1) / (n (n - 1)), which no sampling noise of the counts inflates. Raises
    ValueError if no prompt was answered twice, or all were answered alike.
    """
    several = [(n, right) for n, right in counts if n > 1]
    if not several:
        raise ValueError("success rates cannot be told from prompts that were answered once: take more samples")
    mean = fsum(right / n for n, right in several) / len(several)
    square = fsum(right * (right - 1) / (n * (n - 1)) for n, right in several) / len(several)
    if not 0 < mean < 1:
        raise ValueError("every answer was right, or every one wrong: no power is better than another")
    most = mean * (1 - mean)
    spread = min(max(square - mean**2, 1e-3 * most), 0.999 * most)
    strength = most / spread - 1
    return RateLaw(mean * strength, (1 - mean) * strength)


def choose_power(recipe: Recipe, law: RateLaw, size: int, tries: int = 1) -> PowerChoice:
    """The powers' scores for groups of `size`, for pass@`tries`. The recipe must weigh by `PowerWeights`."""
    rule = recipe.advantage
    if not isinstance(rule, CountWeighted) or not isinstance(rule.weights, PowerWeights):
        raise ValueError(f"{recipe.name} has no power to choose: take rl2ml or max_rl")
    points = law.points()
    found = []
    for power in POWERS:
        changed = replace(recipe, advantage=replace(rule, weights=PowerWeights(power)))
        known = cases(GroupEstimator(changed), size, False, 0.5, 0.0)
        gain = noise = 0.0
        for p, mass in points:
            one, slope = weigh(known, size, p), p * (1 - p)
            gain += mass * tries * (1 - p) ** (tries - 1) * one.weight * slope**2
            noise += mass * (one.deviation * one.weight * slope) ** 2
        found.append((power, gain / sqrt(noise)))
    largest = max(score for _, score in found)
    return PowerChoice(law, tuple((power, score / largest) for power, score in found))
