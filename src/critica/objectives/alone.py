"""A penalty as the whole objective: nothing is reinforced, the policy is only drawn somewhere."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from critica.objectives.base import Objective, Penalty, TokenPenalty, TokenScores
from critica.objectives.view_distillation import ViewDistillation
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm, Reduction, TokenMean
from critica.records.views import ViewSpec


@dataclass(frozen=True, slots=True)
class Alone(Objective):
    """The reduced penalty over every token with credit; the credit itself matters only to a penalty that reads it.

    With `ViewDistillation` of a gold or feedback view it is on-policy self-distillation.
    """

    penalty: Penalty = ViewDistillation(weight=1.0)
    reduction: Reduction = TokenMean()

    @property
    def needs(self) -> frozenset[type]:
        """As the penalty."""
        return self.penalty.needs

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        """As the penalty."""
        return self.penalty.views

    @property
    def depths(self) -> tuple[float, ...]:
        """As the penalty."""
        return self.penalty.depths

    @property
    def reads_laws(self) -> bool:
        return self.penalty.reads_laws

    @property
    def needs_entropy_gradient(self) -> bool:
        return self.penalty.needs_entropy_gradient

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """The tokens that it speaks about."""
        return {self.penalty.name: credit.mask & self.penalty.rows(told)[:, None]}

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        if isinstance(self.penalty, TokenPenalty):
            values, metrics = self.penalty.measured(scores, batch, credit, evidence)
        else:
            values, metrics = self.penalty.values(scores, evidence), ()
        mask = self.masks(credit, told)[self.penalty.name]
        return (LossTerm(self.penalty.name, values, mask, self.penalty.weight, self.reduction),), metrics
