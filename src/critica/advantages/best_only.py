"""Credit for the best answer of a group alone, by how far it is ahead of the second (verl's `grpo_passk`)."""

from dataclasses import dataclass

import torch

from critica.advantages.base import AdvantageRule
from critica.functional.groups import zero_variance_groups
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class BestOnly(AdvantageRule):
    """A = R_best - R_second at the best of the group's known answers, 0 at all others (Pass@k policy optimization).

    Its expected gradient is that of the expected best of n answers, over n: with right and wrong answers
    W(p) = (1 - p)^(n - 1), which is pass@n's over n. Use it where only the best of n counts and rewards are graded;
    not with few solvable prompts a step: groups with two right answers teach nothing. It needs no baseline: set
    critic=none.
    """

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        if bool((values.mean != 0).any()):
            raise ValueError("advantage=best_only brings its own baseline: set critic=none")
        known, returns = told.all_known, told.per_token.sum(dim=(1, 2))
        credit = torch.zeros_like(returns)
        for name in batch.group_index[known].unique().tolist():
            rows = (known & (batch.group_index == name)).nonzero()[:, 0]
            if len(rows) > 1:
                top = returns[rows].topk(2)
                credit[rows[top.indices[0]]] = top.values[0] - top.values[1]
        mask = values.mask & batch.sampled_mask & known[:, None]
        advantage = credit[:, None].expand(mask.shape).where(mask, credit.new_zeros(()))
        silent = zero_variance_groups(returns, known, batch.group_index)
        return Advantages(advantage, mask, silent, rule="best_only")
