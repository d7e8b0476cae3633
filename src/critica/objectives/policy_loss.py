"""The policy's loss: surrogate x mismatch x reduction, plus penalties with weights of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from critica.functional.ratios import truncated_importance
from critica.objectives.base import Objective, TokenScores
from critica.objectives.penalties import Entropy, ReferenceKl
from critica.objectives.positive_example import PositiveExamples
from critica.objectives.surrogates import ClippedRatio, ClippedShift, PolicyGradient
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.losses import LossTerm, Reduction, TokenMean


@dataclass(frozen=True, slots=True)
class PolicyLoss(Objective):
    """Terms per token, reduced elsewhere with denominators of the whole optimizer step.

    `mismatch_cap` truncates the importance weight exp(proximal - behavior) between trainer and sampler (token-level
    TIS, Yao et al. 2025); 0 switches it off.
    """

    surrogate: ClippedRatio | ClippedShift | PolicyGradient
    reduction: Reduction = TokenMean()
    mismatch_cap: float = 2.0
    penalties: tuple[ReferenceKl | Entropy | PositiveExamples, ...] = ()

    def __post_init__(self) -> None:
        if self.mismatch_cap != 0 and self.mismatch_cap < 1:
            raise ValueError(f"mismatch_cap must be at least 1 (or 0 for off), got {self.mismatch_cap}")

    @property
    def needs(self) -> frozenset[type]:
        """Evidence that the penalties read."""
        return frozenset().union(*(penalty.needs for penalty in self.penalties))

    @property
    def needs_entropy_gradient(self) -> bool:
        """Whether any penalty differentiates the entropy."""
        return any(isinstance(penalty, Entropy) for penalty in self.penalties)

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """The tokens that count in each term, known before any forward pass: denominators are taken from them."""
        found = {"policy": credit.mask}
        for penalty in self.penalties:
            rows = penalty.rows(told)[:, None] if isinstance(penalty, PositiveExamples) else True
            found[penalty.name] = credit.mask & rows
        return found

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        """Loss terms of these rows and what to report about them."""
        masks = self.masks(credit, told)
        mask = masks["policy"]
        values, metrics = self.surrogate.values(
            scores.policy_logprobs, scores.proximal_logprobs, credit.advantage, mask
        )
        if self.mismatch_cap:
            weight = truncated_importance(scores.proximal_logprobs, batch.behavior_logprobs, self.mismatch_cap)
            values = values * weight.detach()
        terms = [LossTerm("policy", values, mask, 1.0, self.reduction)]
        for penalty in self.penalties:
            reference = evidence[ReferenceLogprobs].logprobs if ReferenceLogprobs in penalty.needs else None
            values = penalty.values(scores.policy_logprobs, scores.entropies, reference)
            terms.append(LossTerm(penalty.name, values, masks[penalty.name], penalty.weight, self.reduction))
        return tuple(terms), metrics
