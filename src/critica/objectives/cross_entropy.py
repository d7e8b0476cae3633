"""Supervised fine-tuning: the cross-entropy of answers, weighed by what they are worth."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.objectives.base import Laws, Objective, TokenScores
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch, scatter_sampled
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm, Reduction, TokenMean


@dataclass(frozen=True, slots=True)
class CrossEntropyLoss(Objective):
    """w_n ((1 - s) (-log p(y_t)) + s mean_v (-log p(v))) at every token t of an answer n, and nothing on prompts.

    w_n is what was told of the answer, s the label smoothing (Szegedy et al., arXiv 1512.00567): a share s of the
    target is spread evenly over the vocabulary. Rows worth 0 or less, and rows whose worth is unknown, train nothing
    and do not count in the mean; a weight scales a row's loss, not the mean's denominator. With `protocol=given` this
    is SFT; on sampled answers it is imitation of the good ones (rejection sampling, RFT). With weights 1 and s = 0 its
    gradient is REINFORCE's with advantage 1. It reads neither critic nor advantage.

    Use it to teach formats and skills that are not sampled yet; not to choose between answers that are. Cost: the
    reports read every law once more without gradient, chunk by chunk; smoothing reads it with gradient.
    """

    smoothing: float = 0.0
    reduction: Reduction = TokenMean()

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"objective.smoothing={self.smoothing} is no share of the target: at least 0 and below 1")

    @property
    def needs(self) -> frozenset[type]:
        return frozenset()

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """The sampled tokens of rows that are worth something."""
        return {"cross_entropy": credit.mask & (worth_of(told) > 0)[:, None]}

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        mask = self.masks(credit, told)["cross_entropy"]
        surprise = -scores.policy_logprobs
        values = surprise
        if self.smoothing:
            spread = scatter_sampled(even_surprise(scores.laws, batch), batch.sampled_mask)
            values = (1 - self.smoothing) * surprise + self.smoothing * spread
        values = worth_of(told)[:, None].to(values.dtype) * values
        term = LossTerm("cross_entropy", values, mask, 1.0, self.reduction)
        return (term,), imitation_metrics(surprise.detach(), scores.laws.detached(), batch, mask)


def worth_of(told: RewardBatch) -> Float[Tensor, "N"]:
    """What training is told of each row in all; 0 where that is unknown."""
    return torch.where(told.all_known, told.total.nan_to_num(0.0), 0.0)


def even_surprise(laws: Laws, batch: TokenBatch) -> Float[Tensor, "S"]:
    """mean_v -log p(v) of each sampled token's law at its temperature."""

    def read(logits: Tensor, heat: Tensor) -> tuple[Tensor]:
        scaled = logits / torch.where(heat == 0, torch.ones_like(heat), heat)[:, None]
        return (scaled.logsumexp(-1) - scaled.mean(-1),)

    return laws.read(read, batch.temperature[batch.sampled_mask])[0]


@torch.no_grad()
def imitation_metrics(
    surprise: Float[Tensor, "N T"], laws: Laws, batch: TokenBatch, mask: Bool[Tensor, "N T"]
) -> tuple[Metric, ...]:
    """Nats per token, perplexity of the mean answer, and how often the likeliest token is the answer's own."""

    def read(logits: Tensor, chosen: Tensor) -> tuple[Tensor]:
        return ((logits.gather(-1, chosen[:, None]).squeeze(-1) >= logits.amax(-1)).to(logits.dtype),)

    first = laws.read(read, batch.token_ids[batch.sampled_mask])[0]
    right = scatter_sampled(first, batch.sampled_mask)
    count, rows = mask.sum(-1), mask.any(-1)
    nats = surprise.where(mask, surprise.new_zeros(()))
    per_row = (nats.sum(-1) / count.clamp(min=1))[rows]
    tokens = float(count.sum())
    return (
        Metric("imitation/nats", float(nats.sum()), tokens),
        Metric("imitation/perplexity", float(per_row.exp().sum()), float(rows.sum())),
        Metric("imitation/token_accuracy", float(right[mask].sum()), tokens),
    )
