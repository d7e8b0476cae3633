"""Credit from the outcome and from dense rewards that a critic's differences give, sentence by sentence."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.advantages.base import AdvantageRule
from critica.functional.gather import compact
from critica.functional.groups import group_mean
from critica.functional.recursion import discounted_suffix_sums
from critica.functional.sentence_rewards import differences
from critica.functional.steps import step_starts
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence

LEAST_SPREAD = 1.0  # a nat of log-odds: a critic whose answers hardly differ may not shout


@dataclass(frozen=True, slots=True)
class ShapedOutcome(AdvantageRule):
    """A of sentence k = R - its group's mean + weight (D_k - the group's mean of D_1), D_k = sum_{j>=k} decay^(j-k) d_j

    d_j = (V after sentence j - V before it) / max(spread, 1), spread the standard deviation of the step's differences:
    a preference model's scale grows without end, so it is held; but one that has not learned yet differs by a small
    part of a nat, and dividing by that made its noise as loud as a reward (it ruined tiny policies).
    R: the told return. As published (arXiv 2503.04793) the last d_j ends in
    the critic's own verdict on the whole answer, which is so added to the outcome. `absorbing`: the value after the end
    counts as 0; then the dense rewards are a potential, the best policy stays what the outcome makes it (decay 1), and
    V is a baseline and no more. Below decay 1 credit stays near the sentence; not together with `absorbing`, where it
    would charge the last sentence for what was reached before. At `weight` 0 it is `Outcome` with the group's mean.
    Use it where a reward model knows more than the outcome tells; not with one that the policy can fool: the verdict
    is optimized like any reward. Rows without an outcome get no credit.
    """

    weight: float = 0.5
    decay: float = 1.0
    absorbing: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], got {self.decay}")
        if self.absorbing and self.decay < 1:
            raise ValueError(f"absorbing leaves the best policy alone at decay 1 only, got {self.decay}; set decay=1.0")
        if self.weight < 0:
            raise ValueError(f"weight cannot be negative, got {self.weight}: it would pay for what is thought bad")

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        known = told.all_known
        mask = values.mask & batch.sampled_mask & known[:, None]
        nodes = values.node_index(batch)
        starts = step_starts(nodes, mask)
        returns = told.per_token.sum(dim=(1, 2))
        outcome = returns - group_mean(returns, known, batch.group_index)
        dense = self._dense(values, starts)
        dense = dense - group_mean(dense[:, 0], known, batch.group_index)[:, None]
        place = (starts.long().cumsum(-1) - 1).clamp(min=0)
        advantage = outcome[:, None] + self.weight * dense.gather(1, place)
        return Advantages(advantage.where(mask, 0.0), mask, known & False, "shaped_outcome", nodes)

    def _dense(self, values: ValuePrediction, starts: Bool[Tensor, "N T"]) -> Float[Tensor, "N L"]:
        """The decayed sums of a row's dense rewards from each of its sentences on."""
        potential, counts = compact(values.mean, starts)
        if not potential.shape[1]:
            return values.mean[:, :1] * 0
        present = torch.arange(potential.shape[1], device=potential.device) < counts[:, None]
        own = differences(potential, values.bootstrap, present, absorbing=False)
        spread = own[present].std() if int(present.sum()) > 1 else own.new_ones(())
        rewards = differences(potential, values.bootstrap, present, self.absorbing)
        return discounted_suffix_sums(rewards / spread.clamp(min=LEAST_SPREAD), self.decay)
