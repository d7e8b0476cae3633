"""What to do about a sampler that was not the policy: weigh tokens or rows by how they came about, or drop them.

With w = exp(proximal - behavior). Per token, weights of an outcome reward have little variance and are biased (the
reward comes later); per row they are unbiased until they are truncated, and their variance grows with length, which
quietly prefers short rows. A geometric mean does not know length, and only drops (objectives note, 1.7).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.ratios import importance, leveled
from critica.records.arrays import Metric


@dataclass(frozen=True, slots=True)
class Provenance:
    """The sampled tokens under the three policies that know them, all detached, and what they are credited with."""

    policy_logprobs: Float[Tensor, "N T"]
    proximal_logprobs: Float[Tensor, "N T"]
    behavior_logprobs: Float[Tensor, "N T"]
    advantage: Float[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]

    def log_weight(self, level: Literal["token", "sequence_mean", "sequence_sum"]) -> Float[Tensor, "N T"]:
        """log w of each token's level, on the grid."""
        return leveled(self.proximal_logprobs - self.behavior_logprobs, self.mask, level)


class Mismatch(ABC):
    """A stateless rule from where tokens come from to what each one counts for. Denominators do not shrink."""

    @abstractmethod
    def weights(self, provenance: Provenance) -> Float[Tensor, "N T"]: ...

    @property
    def bounds(self) -> bool:
        """Whether it bounds the weight of a token that sampler and trainer see differently."""
        return True


Span = Literal["token", "sequence"]
LEVEL: dict[Span, Literal["token", "sequence_sum"]] = {"token": "token", "sequence": "sequence_sum"}


@dataclass(frozen=True, slots=True)
class Truncated(Mismatch):
    """min(w, `cap`): truncated importance sampling (TIS, Yao et al. 2025). It corrects below the cap."""

    cap: float = 2.0
    per: Span = "token"

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise ValueError(f"cap must be at least 1, got {self.cap}: on-policy weights are 1")

    def weights(self, provenance: Provenance) -> Float[Tensor, "N T"]:
        return importance(provenance.log_weight(LEVEL[self.per])).clamp(max=self.cap)


@dataclass(frozen=True, slots=True)
class Masked(Mismatch):
    """w where `low` <= w <= `high`, else 0 (MIS; per token it is IcePop, per row TRL's `sequence_mask`)."""

    low: float = 0.5
    high: float = 5.0
    per: Span = "token"

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise ValueError(f"the kept weights need 0 <= low <= 1 <= high, got {self.low} and {self.high}")

    def weights(self, provenance: Provenance) -> Float[Tensor, "N T"]:
        w = importance(provenance.log_weight(LEVEL[self.per]))
        return w.where((w >= self.low) & (w <= self.high), 0.0)


@dataclass(frozen=True, slots=True)
class GeometricMask(Mismatch):
    """1 for rows whose mean log w lies in [log `low`, log `high`], else 0: length has no say. verl's example bounds."""

    low: float = 0.999
    high: float = 1.001

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise ValueError(f"the kept rows need 0 <= low <= 1 <= high, got {self.low} and {self.high}")

    def weights(self, provenance: Provenance) -> Float[Tensor, "N T"]:
        w = importance(provenance.log_weight("sequence_mean"))
        return ((w >= self.low) & (w <= self.high)).to(w.dtype)


@dataclass(frozen=True, slots=True)
class StaleRows(Mismatch):
    """Drops rows with A < 0 whose mean (behavior - policy) exceeds `most` nats: bad and already unlikely.

    TRL's `off_policy_mask_threshold` (from DeepSeek-V3.2); 0.5 is what it suggests.
    """

    most: float = 0.5

    def __post_init__(self) -> None:
        if self.most < 0:
            raise ValueError(f"most is a mean of log-ratios in nats, not below 0, got {self.most}")

    @property
    def bounds(self) -> bool:
        return False

    def weights(self, provenance: Provenance) -> Float[Tensor, "N T"]:
        mask = provenance.mask
        fallen = (provenance.behavior_logprobs - provenance.policy_logprobs).masked_fill(~mask, 0.0)
        mean = fallen.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
        return (~((mean > self.most) & (provenance.advantage < 0))).to(mean.dtype)


def weighed(
    values: Float[Tensor, "N T"], rules: tuple[Mismatch, ...], provenance: Provenance
) -> tuple[Float[Tensor, "N T"], tuple[Metric, ...]]:
    """The values times every rule's weights, and the share of tokens that no longer count."""
    if not rules:
        return values, ()
    total = torch.ones_like(provenance.policy_logprobs)
    for rule in rules:
        total = total * rule.weights(provenance).to(total.dtype)
    dropped = (total == 0) & provenance.mask
    # a dropped token's loss may be infinite: 0 times it would be NaN
    kept = torch.where(total == 0, torch.zeros_like(values), values * total)
    return kept, (Metric("mismatch/dropped", float(dropped.sum()), float(provenance.mask.sum())),)
