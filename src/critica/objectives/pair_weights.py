"""What each pair counts for: all alike, prompts that lose most more, or pairs that look wrong less."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.robust_losses import (
    chi2_ball_weights,
    kl_ball_weights,
    tail_weights,
    tilted_weights,
    tv_ball_weights,
    unit_losses,
)

BALLS = {"kl": kl_ball_weights, "tv": tv_ball_weights, "chi2": chi2_ball_weights}


class PairWeights(ABC):
    """A stateless rule from the losses of a step's pairs to weights of mean 1 over them; no gradient flows through."""

    @abstractmethod
    def of(
        self, losses: Float[Tensor, "N N"], pairs: Bool[Tensor, "N N"], group_index: Int[Tensor, "N"]
    ) -> Float[Tensor, "N N"]: ...


@dataclass(frozen=True, slots=True)
class EvenPairs(PairWeights):
    """Every pair counts alike: a prompt counts by how many pairs its answers make."""

    def of(
        self, losses: Float[Tensor, "N N"], pairs: Bool[Tensor, "N N"], group_index: Int[Tensor, "N"]
    ) -> Float[Tensor, "N N"]:
        return torch.ones_like(losses)


@dataclass(frozen=True, slots=True)
class WorstMix(PairWeights):
    """The mix of prompts nearby under which the loss is largest: distributionally robust over prompts.

    Nearby is within `radius` of the step's own mix: in nats (kl), in mass moved (tv, in [0, 1]; the Wasserstein ball
    of prompts that are all 1 apart), or in Pearson's chi-square divergence (chi2). Radius 0 is the plain mean. For
    prompts whose shares in use are not known. Not against wrong labels: those have high losses, so that it leans on
    them, the more the smaller the units. Source: arXiv 2503.00539; its divergence and radius are not known to us.
    """

    ball: Literal["kl", "tv", "chi2"] = "kl"
    radius: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.radius < float("inf") or (self.ball == "tv" and self.radius > 1):
            raise ValueError(f"radius is the size of a ball, at least 0 and finite (tv: at most 1), got {self.radius}")

    def of(
        self, losses: Float[Tensor, "N N"], pairs: Bool[Tensor, "N N"], group_index: Int[Tensor, "N"]
    ) -> Float[Tensor, "N N"]:
        return by_unit(losses, pairs, group_index, lambda means, base: BALLS[self.ball](means, base, self.radius))


@dataclass(frozen=True, slots=True)
class WorstShare(PairWeights):
    """The mean over the worst `share` of the prompts alone (CVaR); 1 is the plain mean."""

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share of the prompts lies in (0, 1], got {self.share}")

    def of(
        self, losses: Float[Tensor, "N N"], pairs: Bool[Tensor, "N N"], group_index: Int[Tensor, "N"]
    ) -> Float[Tensor, "N N"]:
        return by_unit(losses, pairs, group_index, lambda means, base: tail_weights(means, base, self.share))


@dataclass(frozen=True, slots=True)
class Tilt(PairWeights):
    """Weights proportional to exp(loss / temperature), over prompts or over single pairs.

    Above 0 hard ones count more: the KL ball whose price is fixed in place of its radius. Below 0 easy ones do, and
    pairs that the policy strongly contradicts count less: `per` pair it is Dr. DPO (arXiv 2407.07880,
    temperature = -beta'), made for labels that are wrong. A large size of either sign is the plain mean.
    """

    temperature: float = -1.0
    per: Literal["pair", "prompt"] = "pair"

    def __post_init__(self) -> None:
        if self.temperature == 0 or self.temperature != self.temperature:
            raise ValueError("temperature divides losses and cannot be 0: take 100 or more for the plain mean")

    def of(
        self, losses: Float[Tensor, "N N"], pairs: Bool[Tensor, "N N"], group_index: Int[Tensor, "N"]
    ) -> Float[Tensor, "N N"]:
        if self.per == "prompt":
            return by_unit(losses, pairs, group_index, lambda mean, base: tilted_weights(mean, base, self.temperature))
        found = torch.zeros_like(losses)
        chosen = losses[pairs]
        if chosen.numel():
            even = torch.full_like(chosen, 1 / chosen.numel())
            found[pairs] = tilted_weights(chosen, even, self.temperature) * chosen.numel()
        return found


def by_unit(
    losses: Float[Tensor, "N N"],
    pairs: Bool[Tensor, "N N"],
    group_index: Int[Tensor, "N"],
    rule: Callable[[Tensor, Tensor], Tensor],
) -> Float[Tensor, "N N"]:
    """Weights of prompts, handed to their pairs: what the rule gives a prompt's mean loss over its share of pairs."""
    found = torch.zeros_like(losses)
    if bool(pairs.any()):
        unit = group_index[:, None].expand_as(pairs)[pairs]
        means, base = unit_losses(losses[pairs], unit)
        found[pairs] = (rule(means, base) / base)[unit.unique(return_inverse=True)[1]]
    return found
