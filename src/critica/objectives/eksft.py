"""Selective fine-tuning: no imitation where the policy is most uncertain or already farthest from where it began."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.distillation import reverse_kl
from critica.functional.selection import most_of_each_row
from critica.objectives.base import Objective, TokenScores
from critica.objectives.cross_entropy import imitation_metrics, worth_of
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch, scatter_sampled
from critica.records.evidence import Evidence, View, Views
from critica.records.losses import LossTerm, SequenceMeanOfTokenMeans
from critica.records.views import FrozenReference, ViewSpec

REFERENCE = FrozenReference("reference")
ROUNDING = 1e-6  # nats: what is closer than that is a tie, so that rounding decides about no token


@dataclass(frozen=True, slots=True)
class SelectiveCrossEntropy(Objective):
    """CE over the tokens outside M - entropy_weight mean_{M_H}(H / ln V) + kl_weight mean_{M_K} KL(pi || reference).

    Of each answer with n tokens, M_H holds the floor(ratio n) at which the policy's entropy H is greatest, M_K those
    at which KL is, over the whole vocabulary, and M both. The choice carries no gradient, H and KL do. Each mean is
    taken within an answer, then over answers, weighed by what they are worth. EKSFT, arXiv 2605.29303; its released
    code chooses within micro-batches of one row, which is what is done here, and departs from its own intent thrice:
    its KL takes log-probs from probabilities, its choice is shifted by one token, its weights' adjustment never adds
    up. None of that is here, and no adjustment. ratio 0 is SFT, ratio 1 has no cross-entropy left.

    Use it for a cold start on few demonstrations, before reinforcement that needs the entropy; not where the data must
    be learned to the letter. Costs a frozen copy of the policy, its forward pass, and the head of both once more.
    """

    ratio: float = 0.2
    entropy_weight: float = 0.05
    kl_weight: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"objective.ratio={self.ratio} is no share of an answer's tokens: between 0 and 1")
        if self.entropy_weight < 0 or self.kl_weight < 0:
            raise ValueError("objective.entropy_weight and objective.kl_weight cannot be negative")

    @property
    def needs(self) -> frozenset[type]:
        return frozenset({Views})

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        """The policy as it was at the start of the run."""
        return (REFERENCE,)

    @property
    def needs_entropy_gradient(self) -> bool:
        return True

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """The sampled tokens of rows that are worth something, for every term."""
        mask = credit.mask & (worth_of(told) > 0)[:, None]
        return dict.fromkeys(("cross_entropy", "uncertainty", "reference_kl"), mask)

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        mask = self.masks(credit, told)["cross_entropy"]
        divergence = kl_to(evidence[Views][REFERENCE.name], scores, batch)
        found = divergence.detach()
        uncertain, far = (
            most_of_each_row((values.detach() / ROUNDING).round(), mask, self.ratio)
            for values in (scores.entropies, divergence)
        )
        kept = mask & ~uncertain & ~far
        surprise = -scores.policy_logprobs
        scale = math.log(vocabulary_of(scores))
        worth = worth_of(told)[:, None].to(surprise.dtype)
        parts = (
            ("cross_entropy", surprise, kept, 1.0),
            ("uncertainty", -scores.entropies / scale, uncertain, self.entropy_weight),
            ("reference_kl", divergence, far, self.kl_weight),
        )
        terms = tuple(
            LossTerm(name, worth * mean_over(values, some, mask), mask, weight, SequenceMeanOfTokenMeans())
            for name, values, some, weight in parts
        )
        tokens = float(mask.sum())
        return terms, (
            *imitation_metrics(surprise.detach(), scores.laws.detached(), batch, mask),
            Metric("imitation/left_out", float((mask & ~kept).sum()), tokens),
            Metric("policy/kl_reference_law", float(found[mask].sum()), tokens),
        )


def kl_to(view: View, scores: TokenScores, batch: TokenBatch) -> Float[Tensor, "N T"]:
    """KL(policy || view) over the vocabulary at each sampled token, both at its temperature; zero elsewhere."""

    def read(logits: Tensor, states: Tensor, heat: Tensor) -> tuple[Tensor]:
        with torch.no_grad():
            other = view.head(states)
        divisor = torch.where(heat == 0, torch.ones_like(heat), heat)[:, None].to(logits.dtype)
        return (reverse_kl(logits / divisor, other.to(logits.dtype) / divisor),)

    mask = batch.sampled_mask
    return scatter_sampled(scores.laws.read(read, view.at(mask), batch.temperature[mask])[0], mask)


def vocabulary_of(scores: TokenScores) -> int:
    """V."""
    with torch.no_grad():
        return scores.laws.head(scores.laws.states[:0]).shape[-1]


def mean_over(
    values: Float[Tensor, "N T"], some: Bool[Tensor, "N T"], mask: Bool[Tensor, "N T"]
) -> Float[Tensor, "N T"]:
    """Values whose mean over `mask` in each row is the mean of the given ones over `some`; 0 where `some` is empty."""
    share = mask.sum(-1, keepdim=True).to(values.dtype) / some.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(some, values, values.new_zeros(())) * share
