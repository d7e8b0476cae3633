"""AlignDistil: the policy is drawn, token by token over the whole vocabulary, to a teacher that two models spell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.distillation import LEAST_WEIGHT, contrastive_teacher, mixed_teacher, reverse_kl
from critica.objectives.base import Laws, Objective, TokenScores
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch, scatter_sampled
from critica.records.evidence import Evidence, ReferenceLogprobs, Views
from critica.records.losses import LossTerm, TokenMean

ANTI, INITIAL, TEACHER = "anti_teacher", "reference", "teacher"


@dataclass(frozen=True, slots=True)
class Distillation(Objective):
    """beta / w KL(pi || teacher) at every trained token, averaged over tokens (AlignDistil, arXiv 2503.02832).

    `adaptive`: the teacher is z_d + w (z_d - z_r), with w = `slope` tv(p_d, p_r) + 1e-3 at each token, z_d of a model
    that learned from preferences (DPO) and z_r of one that learned from them upside down. `theorem`: the teacher is
    w z_d + (1 - w) z_ref with one w = beta / `strength`, the exact optimum of RLHF whose token reward is
    beta log pi_d / pi_ref and whose KL costs `strength`. Credit says only which tokens are trained, never how.
    Use it where preferences are all there is and response-level rewards are too sparse; needs a critic that holds the
    models (critic=preference_models). Costs three models in memory, and a few tokens' logits of each at a time.
    beta / w reaches 1000 beta where the models agree: there it holds the policy to p_d.
    Both laws are read at temperature 1. On-policy, as the tokens are the policy's own.
    """

    variant: Literal["adaptive", "theorem"] = "adaptive"
    beta: float = 0.1
    slope: float = 15.0
    strength: float = 0.05

    def __post_init__(self) -> None:
        if not (self.beta > 0 and self.strength > 0) or self.slope < 0:
            raise ValueError("beta and strength must be above 0 and slope not below 0: they weigh a divergence")

    @property
    def needs(self) -> frozenset[type]:
        """The models; the reference as one of them for the theorem's teacher."""
        return frozenset({Views, ReferenceLogprobs} if self.variant == "theorem" else {Views})

    @property
    def reads_laws(self) -> bool:
        return True

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """Every token with credit, whatever it is."""
        return {"distillation": credit.mask}

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        loss, divergence = self.losses(scores.laws, evidence[Views], batch.sampled_mask)
        grid = scatter_sampled(loss, batch.sampled_mask)
        count = float(batch.sampled_mask.sum())
        metrics = (Metric("policy/kl_teacher", float(divergence.detach().sum()), count),)
        return (LossTerm("distillation", grid, credit.mask, 1.0, TokenMean()),), metrics

    def losses(
        self, laws: Laws, teachers: Views, mask: Bool[Tensor, "N T"]
    ) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
        """The loss of each sampled token, and its divergence from the teacher before any weight."""
        first, second = teachers[TEACHER], teachers[INITIAL if self.variant == "theorem" else ANTI]

        def read(logits: Tensor, told: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                wanted, weight = self.teacher(first.head(told), second.head(other))
            divergence = reverse_kl(logits, wanted)
            return weight * divergence, divergence

        loss, divergence = laws.read(read, first.at(mask), second.at(mask))
        return loss, divergence

    def teacher(
        self, told: Float[Tensor, "S V"], other: Float[Tensor, "S V"]
    ) -> tuple[Float[Tensor, "S V"], Float[Tensor, "S"]]:
        """Its logits, and what the divergence from them is multiplied by at each token."""
        if self.variant == "theorem":
            return mixed_teacher(told, other, self.beta / self.strength), told.new_full(told.shape[:1], self.strength)
        wanted, weight = contrastive_teacher(told, other, self.slope)
        return wanted, self.beta / weight.clamp(min=LEAST_WEIGHT)
