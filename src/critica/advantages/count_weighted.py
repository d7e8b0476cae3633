"""Credit by how many answers of the group were right: any polynomial weight of the prompt's success rate."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from critica.advantages.base import AdvantageRule
from critica.functional.groups import group_sizes, group_sums
from critica.functional.success_counts import by_count, pass_at_weights, power_weights, raised
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


class CountWeights(ABC):
    """What a right answer is worth when k of n were right, before any baseline."""

    @abstractmethod
    def right(self, size: int) -> Sequence[float]:
        """The credit for k = 1..size."""

    @property
    def least_size(self) -> int:
        """The smallest group that it is defined for."""
        return 1


@dataclass(frozen=True, slots=True)
class PowerWeights(CountWeights):
    """(n / k)^power: 0 is RL, 1 is MaxRL (W = (1 - (1 - p)^n) / p), above 1 hard prompts count more still.

    The family is our choice (RL2ML, arXiv 2605.30154, states its own only in general). k (n / k)^power, what a group
    pushes up in all, grows with k below 1, and falls above 1.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 4:
            raise ValueError(f"power must lie in [0, 4], got {self.power}: 0 is RL and 1 is MaxRL")

    def right(self, size: int) -> Sequence[float]:
        return power_weights(size, self.power)


@dataclass(frozen=True, slots=True)
class PassAt(CountWeights):
    """Weights whose gradient is that of pass@`tries`: W = k (1 - p)^(k - 1) (PKPO, arXiv 2505.15201)."""

    tries: int = 4

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"tries must be at least 1, got {self.tries}")

    @property
    def least_size(self) -> int:
        return self.tries

    def right(self, size: int) -> Sequence[float]:
        return pass_at_weights(size, self.tries)


@dataclass(frozen=True, slots=True)
class WeightCurve(CountWeights):
    """Any W(p) = sum_j coefficients[j] Bin(j; d, p), d + 1 coefficients: its unbiased credit at every group size > d.

    (1,) is RL, (2, 0) is W = 2 (1 - p), (0, 1) is W = p.
    """

    coefficients: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.coefficients:
            raise ValueError("coefficients of a weight curve: name one or more, (1,) is plain RL")

    @property
    def least_size(self) -> int:
        return len(self.coefficients)

    def right(self, size: int) -> Sequence[float]:
        return raised(self.coefficients, size - 1)


@dataclass(frozen=True, slots=True)
class CountWeighted(AdvantageRule):
    """A_i = a_k 1[R_i right] - b_i, k of n known answers of the prompt right; an answer is right from `threshold` on.

    `baseline`: `none`; `one`, the number 1 from every answer, also where none is right (MaxRL's control variate: the
    mean score); `others`, a_(c+1) c / (n - 1), c the right ones among the others. These three leave the expected
    gradient as it is, W(p) grad p with W the polynomial that `weights` names; at power 0 `others` is RLOO. `siblings`
    subtracts the mean of what the siblings are credited with, as released PKPO code does (tajwarfahim/maxrl): that
    knows the own outcome through k, and is biased.

    Use it to choose which prompts count: pass@k and powers above 0 favor prompts that are rarely solved. Not with
    graded rewards, and not with noisy ones at high powers, where a single false success moves most. It brings its own
    baseline: set critic=none. Groups smaller than the weights need get no credit.
    """

    weights: CountWeights = PowerWeights()
    baseline: Literal["none", "one", "others", "siblings"] = "others"
    threshold: float = 0.5

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        if bool((values.mean != 0).any()):
            raise ValueError("advantage=count_weighted brings its own baseline: set critic=none")
        known = told.all_known
        right = known & (told.per_token.sum(dim=(1, 2)) >= self.threshold)
        size = group_sizes(known, batch.group_index)
        count = group_sums(right.double(), batch.group_index).long()
        credit = torch.zeros(batch.rows, dtype=torch.float64, device=known.device)
        for n in sorted(set(size[known].tolist())):
            chosen = known & (size == n)
            if n >= self.weights.least_size:
                credit[chosen] = self._credit(right[chosen], count[chosen], n)
        mask = values.mask & batch.sampled_mask & known[:, None]
        credit = credit.to(batch.behavior_logprobs.dtype)
        alike = (count == 0) | (count == size) | (size < self.weights.least_size)
        silent = alike & (group_sums(credit.abs().double(), batch.group_index) == 0)
        advantage = credit[:, None].expand(mask.shape).where(mask, credit.new_zeros(()))
        return Advantages(advantage, mask, silent, rule=f"count_weighted/{self.baseline}")

    def _credit(self, right: Tensor, count: Tensor, size: int) -> Float[Tensor, "n"]:
        """Of rows of groups of this size."""
        table = torch.tensor(self.weights.right(size), dtype=torch.float64, device=right.device)
        own, others = right.double(), count - right.long()
        plain = own * by_count(table, count)
        if self.baseline == "none":
            return plain
        if self.baseline == "one":
            return plain - 1.0
        if size < 2:
            return torch.zeros_like(plain)
        if self.baseline == "others":
            return by_count(table, others + 1) * (own - others / (size - 1))
        return plain - others * by_count(table, count) / (size - 1)
