"""Outcome minus expectation: one number per trajectory, spread over its sampled tokens (REINFORCE, GRPO, RLOO)."""

from dataclasses import dataclass
from typing import Literal

from critica.advantages.base import AdvantageRule
from critica.functional.groups import outcome_scale, zero_variance_groups
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Outcome(AdvantageRule):
    """A_it = (R_i + sum of per-token costs - V_i,t) / scale.

    R: `told.per_token` summed over tokens and objectives. V: whatever critic is plugged in (group mean, leave-one-out,
    a value head at each token). `scale`: group standard deviation (GRPO, ddof=1, plus `epsilon`), batch standard
    deviation, group mean (MaxRL as released; no credit where it is not above 0, so that prompts that all fail are
    dropped), or none (Dr. GRPO, RLOO). A zero-variance group gets advantage 0 when the critic compares siblings;
    rows with an unknown outcome get no credit. Source: DeepSeekMath (arXiv 2402.03300) eq. 3 for `group`;
    Dr. GRPO (arXiv 2503.20783) for `none`; MaxRL (arXiv 2602.02710) for `mean`.
    """

    scale: Literal["group", "batch", "mean", "none"] = "none"
    epsilon: float = 1e-6

    @property
    def scale_free(self) -> bool:
        """When it divides by a spread."""
        return self.scale in ("group", "batch")

    @property
    def divides_by_group_spread(self) -> bool:
        """GRPO does."""
        return self.scale == "group"

    @property
    def shift_free(self) -> bool:
        """It is a difference, unless it is divided by a mean."""
        return self.scale != "mean"

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        known = told.all_known
        returns = told.per_token.sum(dim=(1, 2))
        scale = outcome_scale(self.scale, returns, known, batch.group_index, self.epsilon)
        mask = values.mask & batch.sampled_mask & known[:, None]
        advantage = (returns[:, None] - values.mean) / scale[:, None]
        flat = zero_variance_groups(returns, known, batch.group_index)
        silent = flat if values.uses_siblings else flat & False
        advantage = advantage.where(mask & ~silent[:, None], advantage.new_zeros(()))
        return Advantages(advantage, mask, silent, rule=f"outcome/{self.scale}")
