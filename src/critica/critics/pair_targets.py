"""Comparisons as targets: of two siblings, the one that was told the higher outcome is the better."""

from dataclasses import dataclass

import torch

from critica.critics.base import CriticPart
from critica.critics.targets import TargetRule
from critica.functional.comparisons import sibling_comparisons
from critica.records.arrays import Pairs, RewardBatch, TokenBatch, ValuePrediction, ValueTargets
from critica.records.protocols import CriticTraits


class PreferencePart(CriticPart):
    """A critic that learns from comparisons: its predictions carry `scores` of whole answers."""


@dataclass(frozen=True, slots=True)
class SiblingPairs(TargetRule):
    """Every pair of a group's answers with different told outcomes, for critics that score answers.

    Each row gets its opponents' scores as they were predicted, and who was better. Groups that fared alike give
    none. Use it with samples_per_prompt of 4 or more; under flipped rewards a share of the pairs is upside down.
    """

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        if values.scores is None:
            raise TypeError("target=sibling_pairs compares scores of answers, and this critic predicts none")
        who, better, weights = sibling_comparisons(told.total, told.all_known, batch.group_index)
        width = batch.sampled_mask.shape[1]
        last = width - 1 - batch.sampled_mask.flip(1).int().argmax(1)
        mask = torch.zeros_like(batch.sampled_mask)
        mask[torch.arange(batch.rows, device=mask.device), last] = weights.sum(-1) > 0
        return Pairs(values.scores[who], better, weights, mask & batch.sampled_mask)

    def check(self, critic: CriticTraits) -> None:
        if not isinstance(critic, PreferencePart):
            raise ValueError(
                "target=sibling_pairs teaches critics that score answers; set critic=sentence_reward or"
                " critic=preference_models, or target=monte_carlo for this one"
            )
