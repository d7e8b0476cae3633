"""TEMPO's credit: the outcome against its group, corrected at each token by what the value did there."""

from dataclasses import dataclass
from typing import Literal

from critica.advantages.base import AdvantageRule
from critica.functional.groups import outcome_scale, zero_variance_groups
from critica.functional.node_differences import first_values, value_steps
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class TreeDifference(AdvantageRule):
    """A_t = (R - V_first + branch [V(tokens_<=t) - V(tokens_<t)]) / scale (TEMPO, arXiv 2509.18314).

    R: the row's return; V_first: the value before its first token, the group's mean for a prefix tree. `scale`: the
    group's standard deviation plus `epsilon` (published), the step's, or none. It is *not* a telescoping of R: the
    brackets sum to V_last - V_first and come on top of the outcome, so that a token which decides counts about twice.
    Reduces at `branch` 0, and wherever no sibling parts ways, to `Outcome` with the value at the first token (GRPO).
    Groups that fared alike are silent when the critic compares siblings; unknown rows get no credit.
    """

    branch: float = 1.0
    scale: Literal["group", "batch", "none"] = "group"
    epsilon: float = 1e-6

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        known = told.all_known
        returns = told.per_token.sum(dim=(1, 2))
        scale = outcome_scale(self.scale, returns, known, batch.group_index, self.epsilon)
        mask = values.mask & batch.sampled_mask & known[:, None]
        outcome = (returns - first_values(values.mean, mask))[:, None]
        advantage = (outcome + self.branch * value_steps(values.mean, values.bootstrap, mask)) / scale[:, None]
        flat = zero_variance_groups(returns, known, batch.group_index)
        silent = flat if values.uses_siblings else flat & False
        advantage = advantage.where(mask & ~silent[:, None], advantage.new_zeros(()))
        return Advantages(advantage, mask, silent, rule=f"tree_difference/{self.scale}")
