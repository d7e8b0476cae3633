"""What to make of a verdict whose errors are known: corrected values, and rates with what is known about them.

Notation: rho0 = P(told high | clean low), the false positives; rho1 = P(told low | clean high), the false negatives;
J = 1 - rho0 - rho1, Youden's index: how much of a difference survives. Values are scaled to low 0 and high 1.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.statistics import Interval, wilson_interval

LEAST_SIGNAL = 0.05  # of J: below it a correction multiplies noise by more than twenty


class NoSignal(ValueError):
    """What was told says nothing about what is true, or its opposite."""


def youden(rho0: float, rho1: float) -> float:
    """J = 1 - rho0 - rho1 in [-1, 1]: the told means of right and wrong answers lie this far apart."""
    return 1.0 - rho0 - rho1


def backward_corrected(
    told: Float[Tensor, "*B"], rho0: Float[Tensor, "*B"], rho1: Float[Tensor, "*B"]
) -> Float[Tensor, "*B"]:
    """(told - rho0) / J: its expectation is the clean value (Natarajan et al. 2013; 2510.00915, 2510.18924).

    Unbiased at the price of 1 / J^2 times the variance, and values outside of [0, 1]. Affine in what was told: with
    equal rates for all, a group's standardized advantage does not change at all. Raises `NoSignal` where J <= 0.05.
    """
    signal = 1.0 - rho0 - rho1
    if bool((signal <= LEAST_SIGNAL).any()):
        worst = float(signal.min())
        raise NoSignal(
            f"Youden's J is {worst:.3g}: false positives and false negatives together leave at most {LEAST_SIGNAL:g} of"
            " the signal, and a correction would multiply what is left of the noise; mend the source, or train without"
        )
    return (told - rho0) / signal


def forward_weights(told: Float[Tensor, "*B"], rho1: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """told - (1 - rho1): weights of the score function whose expectation is J (clean - 1) (2510.00915).

    A direction, not a value: it has the clean gradient's direction at J times its length and the variance of what was
    told, and asks for the false negatives alone. It is its own baseline: centering it in a group undoes it.
    """
    return told - (1.0 - rho1)


def unconfused(shares: Float[Tensor, "*B L"], matrix: Float[Tensor, "L L"]) -> Float[Tensor, "*B L"]:
    """Clean shares of L grades from told ones, shares @ inverse(matrix), matrix[i, j] = P(told j | clean i).

    For one verdict the told shares are a one-hot row; the result adds up to 1 and may leave [0, 1]. Raises `NoSignal`
    for a matrix whose rows say too nearly the same thing (a singular value of at most 0.05).
    """
    least = float(torch.linalg.svdvals(matrix).min())
    if least <= LEAST_SIGNAL:
        raise NoSignal(f"the confusion matrix cannot be inverted in earnest: its least singular value is {least:.3g}")
    return torch.linalg.solve(matrix.T, shares.unsqueeze(-1)).squeeze(-1)


def audited(
    told: Float[Tensor, "*B"], gold: Float[Tensor, "*B"], seen: Bool[Tensor, "*B"], share: float
) -> Float[Tensor, "*B"]:
    """told + seen (gold - told) / share: unbiased for gold whatever the noise is, if each is seen with that chance.

    A difference estimator (control variate by what was told); `gold` is read only where seen. Variance
    (1 - share) / share * E[(gold - told)^2] beside that of gold.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"the audited share is {share}: a probability above 0")
    return told + torch.where(seen, gold - told, torch.zeros_like(told)) / share


def softened(told: Float[Tensor, "*B"], by: float) -> Float[Tensor, "*B"]:
    """(1 - by) told + by / 2: label smoothing of a verdict in [0, 1]; affine, so no change under standardization."""
    return (1.0 - by) * told + by / 2


def repaired(
    told: Float[Tensor, "*B"], feature: Float[Tensor, "*B"], threshold: float, gain: float
) -> Float[Tensor, "*B"]:
    """min(1, told + gain * feature) where told < threshold, else as told (2505.22653): mends false negatives alone."""
    return torch.where(told < threshold, (told + gain * feature).clamp(max=1.0), told)


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Counts of checked verdicts, possibly faded: of wrong answers and how many were told high, of right ones, low."""

    wrong: float = 0.0
    wrong_told_high: float = 0.0
    right: float = 0.0
    right_told_low: float = 0.0

    def faded(self, kept: float) -> "ErrorRates":
        """Every count times `kept`."""
        return ErrorRates(
            *(kept * count for count in (self.wrong, self.wrong_told_high, self.right, self.right_told_low))
        )

    def with_checked(self, told: Float[np.ndarray, "n"], gold: Float[np.ndarray, "n"]) -> "ErrorRates":
        """These counts and those of verdicts (0 or 1) whose truth (0 or 1) was looked up."""
        is_right = gold >= 0.5
        return ErrorRates(
            self.wrong + float((~is_right).sum()),
            self.wrong_told_high + float((told[~is_right] >= 0.5).sum()),
            self.right + float(is_right.sum()),
            self.right_told_low + float((told[is_right] < 0.5).sum()),
        )

    def rate(self, which: int, prior: float = 0.0, strength: float = 0.0) -> float:
        """rho0 (`which` 0) or rho1 (1), shrunk toward `prior` by `strength` imagined checks; NaN if unknown."""
        checked, errors = ((self.wrong, self.wrong_told_high), (self.right, self.right_told_low))[which]
        total = checked + strength
        return (errors + strength * prior) / total if total > 0 else float("nan")

    def interval(self, which: int, level: float = 0.95) -> Interval:
        """Wilson's interval of that rate, from counts rounded down: never narrower than what was checked."""
        checked, errors = ((self.wrong, self.wrong_told_high), (self.right, self.right_told_low))[which]
        n = int(checked)
        return wilson_interval(min(n, int(errors + 0.5)), n, level)

    def signal_interval(self, level: float = 0.95) -> tuple[float, float]:
        """J's interval: of two independent rates, squares of the half widths added (Newcombe's method 10)."""
        first, second = self.interval(0, level), self.interval(1, level)
        j = youden(first.estimate, second.estimate)
        below = ((first.high - first.estimate) ** 2 + (second.high - second.estimate) ** 2) ** 0.5
        above = ((first.estimate - first.low) ** 2 + (second.estimate - second.low) ** 2) ** 0.5
        return j - below, j + above
