"""What stands in for the expected return: the score function, or the clipped probability ratio."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.ratios import clip_fraction, clipped_surrogate, ratio, shift_clipped_surrogate
from critica.records.arrays import Metric


@dataclass(frozen=True, slots=True)
class PolicyGradient:
    """-A log pi: REINFORCE (Williams 1992)."""

    def values(
        self,
        policy_logprobs: Float[Tensor, "N T"],
        proximal_logprobs: Float[Tensor, "N T"],
        advantage: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> tuple[Float[Tensor, "N T"], tuple[Metric, ...]]:
        """The loss of each token, to be minimized."""
        return -advantage * policy_logprobs, ()


@dataclass(frozen=True, slots=True)
class ClippedRatio:
    """-min(rho A, clip(rho, 1 - low, 1 + high) A), rho = exp(policy - proximal) (PPO, arXiv 1707.06347, eq. 7).

    `high` > `low` is DAPO's clip-higher; `dual` > 1 bounds the loss where A < 0 (Ye et al. 2020), 0 is off.
    """

    low: float = 0.2
    high: float = 0.2
    dual: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.low < 1 or not self.high > 0:
            raise ValueError(f"clip range needs 0 < low < 1 and high > 0, got low={self.low}, high={self.high}")
        if self.dual and self.dual <= 1:
            raise ValueError(f"dual must be above 1 (or 0 for off), got {self.dual}")

    def values(
        self,
        policy_logprobs: Float[Tensor, "N T"],
        proximal_logprobs: Float[Tensor, "N T"],
        advantage: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> tuple[Float[Tensor, "N T"], tuple[Metric, ...]]:
        """The loss of each token, to be minimized, and the share of tokens whose gradient the clip removed."""
        rho = ratio(policy_logprobs, proximal_logprobs)
        values = clipped_surrogate(rho, advantage, self.low, self.high, self.dual or None)
        clipped = clip_fraction(rho.detach(), advantage, self.low, self.high) & mask
        return values, (Metric("policy/clip_fraction", float(clipped.sum()), float(mask.sum())),)


@dataclass(frozen=True, slots=True)
class ClippedShift:
    """The ratio's clip with a width in probability: |pi - proximal| <= `width` (DPPO, as BPCO uses it: 0.2)."""

    width: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.width < 1:
            raise ValueError(f"width is a change of probability, in (0, 1), got {self.width}")

    def values(
        self,
        policy_logprobs: Float[Tensor, "N T"],
        proximal_logprobs: Float[Tensor, "N T"],
        advantage: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> tuple[Float[Tensor, "N T"], tuple[Metric, ...]]:
        """The loss of each token, to be minimized, and the share of tokens whose gradient the clip removed."""
        rho = ratio(policy_logprobs, proximal_logprobs)
        values, silenced = shift_clipped_surrogate(rho, advantage, proximal_logprobs, self.width)
        share = float((silenced & mask).sum())
        return values, (Metric("policy/clip_fraction", share, float(mask.sum())),)
