"""Group estimators that see right and wrong answers only through how many of the group were right.

With credit s_k for each right answer and f_k for each wrong one of a group of n with k right ones, the estimate
(1/n) sum_i A_i grad log pi(y_i) has the expectation W(p) grad p, p the chance of a right answer, and
W(p) = sum_{j<n} Bin(j; n-1, p) (s_{j+1} - f_j): a Bernstein polynomial of degree n - 1 whose coefficients are
s_{j+1} - f_j. So a polynomial weight of degree below n has one unbiased credit for right answers alone, and whatever
is given to both, as a function of the other answers only, leaves it as it is (RL2ML, arXiv 2605.30154; derived again).
"""

from collections.abc import Sequence
from math import comb

import torch
from jaxtyping import Float, Int
from torch import Tensor


def raised(coefficients: Sequence[float], degree: int) -> list[float]:
    """Bernstein coefficients of the same polynomial at a higher `degree`. Raises ValueError for a lower one."""
    low = len(coefficients) - 1
    if degree < low:
        raise ValueError(f"raised: a polynomial of degree {low} has no coefficients of degree {degree}")
    return [
        sum(coefficients[i] * comb(low, i) * comb(degree - low, j - i) for i in range(min(low, j) + 1))
        / comb(degree, j)
        for j in range(degree + 1)
    ]


def prompt_weight(success: Sequence[float], failure: Sequence[float], p: float) -> float:
    """W(p) of credit `success[k]` and `failure[k]`, k = 0..n right answers. W = 1 is the policy gradient itself."""
    n = len(success) - 1
    return sum(
        comb(n - 1, j) * p**j * (1 - p) ** (n - 1 - j) * (success[j + 1] - failure[j]) for j in range(n)
    )  # fmt: skip


def power_weights(size: int, power: float) -> list[float]:
    """(n / k)^power for k = 1..n: power 0 is RL (W = 1), 1 is MaxRL (W = (1 - (1 - p)^n) / p), arXiv 2602.02710."""
    return [(size / right) ** power for right in range(1, size + 1)]


def pass_at_weights(size: int, tries: int) -> list[float]:
    """k C(n - c, k - 1) / C(n - 1, k - 1) for c = 1..n right ones: W = k (1 - p)^(k-1), the gradient of pass@k.

    Each right answer is credited with the chance that the k - 1 other tries all fail, drawn from its n - 1 siblings
    without replacement (PKPO, arXiv 2505.15201, with its `sloo_minus_one` baseline). `tries` = 1 gives RL.
    """
    return [tries * comb(size - right, tries - 1) / comb(size - 1, tries - 1) for right in range(1, size + 1)]


def by_count(table: Float[Tensor, "n"], right: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """table[right - 1]; 0 where nothing is right. No row may have more right answers than the table has entries."""
    chosen = table[(right - 1).clamp(min=0)]
    return torch.where(right > 0, chosen, torch.zeros_like(chosen))
