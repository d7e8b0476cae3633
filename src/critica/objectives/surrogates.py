"""What stands in for the expected return: the score function, or a probability ratio that is kept near 1."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.ratios import (
    LARGEST_LOG_RATIO,
    clip_fraction,
    clipped_surrogate,
    clipped_weight_surrogate,
    gamma_weight,
    geometric_mean_surrogate,
    shift_clipped_surrogate,
    soft_clipped_surrogate,
)
from critica.records.arrays import Metric


@dataclass(frozen=True, slots=True)
class Ratios:
    """The policy (with gradient) against the center of its trust region, which is detached.

    `log_ratio` is that of the objective's level, on the grid; per token it is policy - center.
    """

    policy_logprobs: Float[Tensor, "N T"]
    center_logprobs: Float[Tensor, "N T"]
    log_ratio: Float[Tensor, "N T"]

    @property
    def ratio(self) -> Float[Tensor, "N T"]:
        """exp(log_ratio), which is clamped to +-20; no gradient beyond."""
        return torch.exp(self.log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))


Valued = tuple[Float[Tensor, "N T"], tuple[Metric, ...]]


class Surrogate(ABC):
    """A stateless loss per token, to be minimized, and what to report. At ratio 1 its gradient is -A d log pi."""

    @abstractmethod
    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued: ...

    @property
    def clips(self) -> bool:
        """Whether it leaves the plain gradient only where the ratio is not 1: idle with one update a step."""
        return True


@dataclass(frozen=True, slots=True)
class PolicyGradient(Surrogate):
    """-A log pi: REINFORCE (Williams 1992). The ratio is not looked at."""

    @property
    def clips(self) -> bool:
        return False

    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued:
        return -advantage * ratios.policy_logprobs, ()


@dataclass(frozen=True, slots=True)
class ClippedRatio(Surrogate):
    """-min(rho A, clip(rho, 1 - low, 1 + high) A), rho = exp(policy - proximal) (PPO, arXiv 1707.06347, eq. 7).

    `high` > `low` is DAPO's clip-higher; `dual` > 1 bounds the loss where A < 0 (Ye et al. 2020), 0 is off. `cap` > 1
    bounds rho itself before anything else, whatever the sign of A (INTELLECT-2's two-sided clip), 0 is off.
    """

    low: float = 0.2
    high: float = 0.2
    dual: float = 0.0
    cap: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.low < 1 or not self.high > 0:
            raise ValueError(f"clip range needs 0 < low < 1 and high > 0, got low={self.low}, high={self.high}")
        if self.dual and self.dual <= 1:
            raise ValueError(f"dual must be above 1 (or 0 for off), got {self.dual}")
        if self.cap and self.cap <= 1 + self.high:
            raise ValueError(f"cap must be above 1 + high = {1 + self.high:g} (or 0 for off), got {self.cap}")

    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued:
        rho = ratios.ratio.clamp(max=self.cap) if self.cap else ratios.ratio
        values = clipped_surrogate(rho, advantage, self.low, self.high, self.dual or None)
        return values, _share(clip_fraction(rho.detach(), advantage, self.low, self.high), mask)


@dataclass(frozen=True, slots=True)
class ClippedShift(Surrogate):
    """The ratio's clip with a width in probability: |pi - proximal| <= `width` (DPPO, as BPCO uses it: 0.2)."""

    width: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.width < 1:
            raise ValueError(f"width is a change of probability, in (0, 1), got {self.width}")

    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued:
        values, silenced = shift_clipped_surrogate(ratios.ratio, advantage, ratios.center_logprobs, self.width)
        return values, _share(silenced, mask)


@dataclass(frozen=True, slots=True)
class MaskedShift(Surrogate):
    """-m rho A + `drift` (log rho)^2; m drops a token that moved more than `width` in probability where A pushes on.

    prime-rl's default loss (DPPO with Kimi's term): with `center="behavior"` rho and the shift are taken against the
    sampler. A dropped token keeps the drift term, which pulls it back.
    """

    width: float = 0.2
    drift: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.width < 1 or self.drift < 0:
            raise ValueError(f"width must lie in (0, 1) and drift not below 0, got {self.width} and {self.drift}")

    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued:
        shift = (ratios.policy_logprobs.exp() - ratios.center_logprobs.exp()).detach()
        dropped = ((shift > self.width) & (advantage > 0)) | ((shift < -self.width) & (advantage < 0))
        pushed = (ratios.ratio * advantage).masked_fill(dropped, 0.0)
        return self.drift * ratios.log_ratio.square() - pushed, _share(dropped, mask)


@dataclass(frozen=True, slots=True)
class ClippedWeight(Surrogate):
    """-sg[clip(rho, low, high)] A log pi: no token loses its gradient (CISPO, MiniMax-M1, arXiv 2506.13585).

    `low` and `high` bound rho itself: verl's eps 0.2 is low=0.8, high=1.2; TRL's `epsilon_high` 5 is low=0, high=5.
    """

    low: float = 0.0
    high: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < 1 < self.high:
            raise ValueError(f"the bounds of the ratio itself need 0 <= low < 1 < high, got {self.low} and {self.high}")

    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued:
        rho = ratios.ratio.detach()
        values = clipped_weight_surrogate(rho, ratios.policy_logprobs, advantage, self.low, self.high)
        return values, _share((rho < self.low) | (rho > self.high), mask)


@dataclass(frozen=True, slots=True)
class SoftClip(Surrogate):
    """-(4 / tau) sigmoid(tau (rho - 1)) A: a trust region without an edge (SAPO, arXiv 2511.20347).

    `negative` > `positive`: tokens that are pushed down fade sooner, for they spread noise over the vocabulary.
    """

    positive: float = 1.0
    negative: float = 1.05

    def __post_init__(self) -> None:
        if not (self.positive > 0 and self.negative > 0):
            raise ValueError("the temperatures of a soft clip must be above 0")

    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued:
        return soft_clipped_surrogate(ratios.ratio, advantage, self.positive, self.negative), ()


@dataclass(frozen=True, slots=True)
class GeometricMean(Surrogate):
    """-A times the geometric mean of a row's token ratios, each clipped in log space (GMPO, arXiv 2507.20673).

    The paper's (e^-0.4, e^0.4). It has a level of its own: set `level="token"`, and average over a row's tokens.
    """

    low: float = 0.4
    high: float = 0.4

    def __post_init__(self) -> None:
        if not (self.low > 0 and self.high > 0):
            raise ValueError(f"the clip in log space needs low and high above 0, got {self.low} and {self.high}")

    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued:
        log_ratio = ratios.log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
        values, clipped = geometric_mean_surrogate(log_ratio, advantage, mask, self.low, self.high)
        return values, _share(clipped, mask)


@dataclass(frozen=True, slots=True)
class GammaWeight(Surrogate):
    """-phi(rho) A log pi, phi(w) = exp(rate) w^shape exp(-rate w) (VESPO, with `level="sequence_sum"`).

    Rows that became likelier fade, those that became much rarer fade too; `shape` / `rate` is the ratio that counts
    most. Defaults are TRL's.
    """

    positive_shape: float = 2.0
    positive_rate: float = 3.0
    negative_shape: float = 3.0
    negative_rate: float = 2.0

    def __post_init__(self) -> None:
        if min(self.positive_shape, self.positive_rate, self.negative_shape, self.negative_rate) <= 0:
            raise ValueError("shapes and rates of a gamma weight must be above 0")

    def values(self, ratios: Ratios, advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Valued:
        up = gamma_weight(ratios.ratio, self.positive_shape, self.positive_rate)
        down = gamma_weight(ratios.ratio, self.negative_shape, self.negative_rate)
        return -torch.where(advantage >= 0, up, down) * advantage * ratios.policy_logprobs, ()


def _share(silenced: Bool[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> tuple[Metric, ...]:
    """The share of tokens whose gradient the surrogate cut or bounded."""
    return (Metric("policy/clip_fraction", float((silenced & mask).sum()), float(mask.sum())),)
