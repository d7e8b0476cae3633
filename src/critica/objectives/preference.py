"""Pairs of siblings as supervision: the better answer is to gain on the worse one, as measured from an anchor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.preferences import (
    better_pairs,
    extremes,
    gaps,
    known_siblings,
    win_shares,
)
from critica.objectives.base import Objective, TokenScores
from critica.objectives.pair_rules import Logistic, PairRule
from critica.objectives.pair_weights import EvenPairs, PairWeights
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class PairLoss(Objective):
    """The mean over pairs of siblings of `rule`; credit says only which tokens and rows take part.

    A pair is two siblings told different outcomes, further apart than `margin`; `pairs` extremes keeps the best and
    the worst of each group alone. With `compare` wins an outcome is replaced by the share of siblings that it beats,
    which is all that counts where preferences have no scale. The anchor's log-probs are initial_share * initial policy
    + (1 - initial_share) * policy at the start of the step: 1 is DPO's fixed reference, 0 that of methods whose
    reference is the last iterate, tau / eta is INPO's mixture. `weights` lean toward prompts or pairs.

    Use it where answers are better or worse rather than right to a degree, and where a value is hard to learn. Not for
    token credit: every token of an answer is pushed alike, and with a pair both answers' likelihoods may fall. Under
    flipped outcomes a share of the pairs is upside down: `wrong_labels`, a margin or `weights` that ease, not less
    beta. Costs a forward pass without gradient more where a step does not fit one micro-batch, and matrices [N N].
    """

    rule: PairRule = Logistic()
    pairs: Literal["all", "extremes"] = "all"
    margin: float = 0.0
    compare: Literal["outcomes", "wins"] = "outcomes"
    initial_share: float = 1.0
    weights: PairWeights = EvenPairs()

    def __post_init__(self) -> None:
        if not 0 <= self.margin < float("inf"):
            raise ValueError(f"margin is a gap between told outcomes, at least 0 and finite, got {self.margin}")
        if self.compare == "wins" and self.margin >= 1:
            raise ValueError(f"margin={self.margin:g}, but shares of wins differ by 1 at most: set it below 1")
        if not 0 <= self.initial_share <= 1:
            raise ValueError(
                f"initial_share mixes the initial policy (1) and that of the step's start (0), got {self.initial_share}"
            )

    @property
    def needs(self) -> frozenset[type]:
        """The initial policy's log-probs, unless the anchor is the step's start alone."""
        return frozenset({ReferenceLogprobs} if self.initial_share else ())

    @property
    def couples_rows(self) -> bool:
        return True

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """Every token with credit."""
        return {"pairs": credit.mask}

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        """One term over [N N]: row i of it is the pairs in which answer i is the better one."""
        siblings = known_siblings(told.all_known & credit.mask.any(-1), batch.group_index)
        outcome = told.total if self.compare == "outcomes" else win_shares(told.total, siblings)
        pairs = better_pairs(outcome, siblings, self.margin)
        if self.pairs == "extremes":
            pairs = pairs & extremes(outcome, siblings)
        ratio_gap = gaps(log_ratios(scores, credit.mask, evidence, self.initial_share))
        values = self.rule.values(ratio_gap, gaps(outcome))
        weight = self.weights.of(values.detach(), pairs, batch.group_index)
        terms = (LossTerm("pairs", values * weight, pairs, 1.0, TokenMean()),)
        return terms, pair_metrics(ratio_gap.detach(), pairs, weight)


def log_ratios(
    scores: TokenScores, mask: Bool[Tensor, "N T"], evidence: Evidence, initial_share: float
) -> Float[Tensor, "N"]:
    """log pi - log anchor of each whole answer: the sum over its masked tokens, with gradient."""
    anchor = scores.proximal_logprobs
    if initial_share:
        initial = evidence[ReferenceLogprobs].logprobs.to(anchor.dtype)
        anchor = initial if initial_share == 1 else initial_share * initial + (1 - initial_share) * anchor
    apart = scores.policy_logprobs - anchor
    return torch.where(mask, apart, torch.zeros_like(apart)).sum(-1)


def pair_metrics(
    ratio_gap: Float[Tensor, "N N"], pairs: Bool[Tensor, "N N"], weight: Float[Tensor, "N N"]
) -> tuple[Metric, ...]:
    """How many pairs there were, how far apart they are, and whether the better one gained."""
    count = float(pairs.sum())
    right = (ratio_gap > 0).double() + 0.5 * (ratio_gap == 0).double()
    metrics = [
        Metric("policy/pairs", count, 1.0),
        Metric("policy/pair_gap", float(ratio_gap[pairs].sum()), count),
        Metric("policy/pair_accuracy", float(right[pairs].sum()), count),
    ]
    if count:
        metrics.append(Metric("policy/pair_weight_max", float(weight[pairs].max()), 1.0))
    return tuple(metrics)
