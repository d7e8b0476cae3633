"""The group's mean outcome with every answer counted by its length: OPO's baseline."""

from dataclasses import dataclass
from typing import ClassVar

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.counted import flat_prediction
from critica.functional.groups import group_sizes, weighted_group_mean
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class LengthWeighted(CriticPart):
    """V = sum_j L_j R_j / sum_j L_j over the known samples of the prompt, L sampled tokens, the own included.

    The baseline of least variance if a gradient's square norm grows with an answer's length and is independent of its
    reward (OPO, arXiv 2505.23585). Use it with exact on-policy updates and answers of very different lengths; not with
    few samples, for it includes the own outcome as the group's mean does, with a bias that grows with the own length,
    nor where single tokens must be told apart. With equal lengths it is `group_mean`. Costs one sum.
    """

    group_based: ClassVar[bool] = True
    flat: ClassVar[bool] = True

    def build(self, context: CriticContext) -> ValueCritic:
        return LengthWeightedCritic()


class LengthWeightedCritic(ValueCritic):
    """The group's mean of what was told, by length."""

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        returns, known = told.per_token.sum(dim=(1, 2)), told.all_known
        lengths = batch.sampled_mask.sum(-1).to(returns.dtype)
        mean = weighted_group_mean(returns, lengths, known, batch.group_index)
        support = group_sizes(known, batch.group_index)
        return flat_prediction(batch, mean, known, support, own=True, siblings=True)
