"""CodeRL's credit: the outcome against a baseline, at each token as large as the critic is sure of it there."""

from dataclasses import dataclass

import torch

from critica.advantages.base import AdvantageRule
from critica.advantages.laws import predicts
from critica.functional.groups import leave_one_out_mean
from critica.records.arrays import Advantages, Categorical, RewardBatch, TokenBatch, ValuePrediction, scatter_sampled
from critica.records.evidence import Evidence
from critica.records.protocols import CriticTraits


@dataclass(frozen=True, slots=True)
class OutcomeConfidence(AdvantageRule):
    """A_t = p(u | tokens_<=t) (R - b), u the class of the row's own outcome (CodeRL, arXiv 2207.01780, eq. 7 and 9).

    p is the critic's law after token t. b: the mean of the prompt's other known outcomes, where the paper decodes one
    more answer greedily; a row alone in its group has b = 0. Credit has the sign of R - b at every token: the critic
    moves weight to where it sees the ending coming, and never blames a token of an answer that fared better than b.
    Not a policy gradient with a baseline: the factor looks at the row's own outcome.
    """

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        before, last = values.law, values.bootstrap_law
        if not isinstance(before, Categorical) or not isinstance(last, Categorical):
            raise TypeError(f"OutcomeConfidence needs a law over classes, not {type(before).__name__}")
        returns, known = told.per_token.sum(dim=(1, 2)), told.all_known
        mask = values.mask & batch.sampled_mask & known[:, None]
        own = (returns[:, None] - before.atoms.to(returns)).abs().argmin(-1)
        rows, places = batch.sampled_mask.nonzero(as_tuple=True)
        closes = torch.cat((rows[1:] != rows[:-1], rows.new_ones(1, dtype=torch.bool))) if len(rows) else rows.bool()
        confidence = before.probs.mean(2)[rows, places, own[rows]]
        after = torch.cat((confidence[1:], confidence.new_zeros(1))) if len(rows) else confidence
        ends = last.probs.mean(2)[:, 0][torch.arange(batch.rows, device=own.device), own]
        after = torch.where(closes, ends[rows], after)
        baseline, _ = leave_one_out_mean(returns, known, batch.group_index)
        advantage = scatter_sampled(after.to(returns), batch.sampled_mask) * (returns - baseline)[:, None]
        flat = torch.zeros_like(known)
        return Advantages(advantage.where(mask, 0.0), mask, flat, rule="outcome_confidence")

    def check(self, critic: CriticTraits) -> None:
        """Raise ValueError unless the critic predicts a law over classes."""
        if not predicts(critic, Categorical):
            raise ValueError("advantage=outcome_confidence reads chances of classes; set critic=outcome_classes")
