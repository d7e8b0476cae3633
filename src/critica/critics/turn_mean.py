"""The mean of the siblings turn by turn: what those who came that far earned from there on."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.functional.groups import group_mean
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence
from critica.records.words import label_of


@dataclass(frozen=True, slots=True)
class TurnMean(CriticPart):
    """V at turn k = mean, over the siblings that wrote a turn k, of what they were paid from turn k on.

    With one turn it is `group_mean`. Rows (x0, y1) that stand for an answer without the critique before it (their
    label is `single`, see `rollout.feedback`) are compared with the siblings' mean verdict about `first` answers, as
    RLTF does (arXiv 2602.02482): what the policy reaches there without help. Against the `second` answers instead,
    nothing would be left to learn once all of them are right. Rows labeled `critique` expect nothing.

    Use it for group-relative training of exchanges; not where single tokens must be told apart: a value is one number a
    turn. It holds the row's own outcome, which biases it by 1 - 1/G. Costs a few sums.
    """

    group_based: ClassVar[bool] = True
    single: Literal["first", "second"] = "first"

    def build(self, context: CriticContext) -> ValueCritic:
        return TurnMeanCritic(self.single)


class TurnMeanCritic(ValueCritic):
    """The group's means of what was told."""

    def __init__(self, single: str) -> None:
        self.single = single

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        mask = batch.sampled_mask & told.all_known[:, None]
        labels = [label_of(name) for name in batch.trajectory_ids]
        alone = torch.tensor([label == "single" for label in labels], device=batch.device)
        silent = torch.tensor([label == "critique" for label in labels], device=batch.device)
        mean = turn_means(batch, told)
        if self.single == "first":
            mean = torch.where(alone[:, None], first_of_parents(batch, told)[:, None], mean)
        mean = mean.where(mask & ~silent[:, None], 0.0).to(batch.behavior_logprobs.dtype)
        return ValuePrediction(
            mean, mask, bootstrap=mean.new_zeros(batch.rows), uses_own_outcome=True, uses_siblings=True
        )


def turn_means(batch: TokenBatch, told: RewardBatch) -> Float[Tensor, "N T"]:
    """At each sampled token: the group's mean of what was paid from its turn on, over rows that wrote that turn."""
    paid, mean = told.paid, torch.zeros_like(told.paid)
    for turn in batch.turn_index[batch.sampled_mask].unique().tolist():
        here = batch.sampled_mask & (batch.turn_index == turn)
        wrote = here.any(-1) & told.all_known
        left = paid.where(batch.turn_index >= turn, 0.0).sum(-1)
        mean = torch.where(here, group_mean(left, wrote, batch.group_index)[:, None], mean)
    return mean


def first_of_parents(batch: TokenBatch, told: RewardBatch) -> Float[Tensor, "N"]:
    """For each row with a parent: the mean verdict about the first answers of the parent's group; 0 elsewhere."""
    firsts = torch.where(batch.sampled_mask, batch.turn_index, batch.turn_index.max() + 1).amin(-1)
    verdict = told.paid.where(batch.turn_index == firsts[:, None], 0.0).sum(-1)
    mean = group_mean(verdict, told.all_known, batch.group_index)
    return torch.where(batch.parent_index >= 0, mean[batch.parent_index.clamp(min=0)], torch.zeros_like(mean))
