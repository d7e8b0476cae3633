"""GAE over the nodes of a critic that counts, in units of the group's spread (Numca, Hista)."""

from dataclasses import dataclass
from typing import Literal

from critica.advantages.base import AdvantageRule
from critica.functional.gae import gae
from critica.functional.groups import outcome_scale, zero_variance_groups
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class NodeGae(AdvantageRule):
    """A of a node = sum_j decay^j [V(node j+1) - V(node j)], the value after the last node being the outcome; / scale.

    Nodes are the critic's own (number sets, stretches of tokens), each token gets its node's credit; per-token costs
    belong to the node they fall in. Undiscounted. At decay 1, as published, A = R - V(node), which is `Outcome`; below
    it, credit stays near where the value moves. `scale`: group standard deviation plus `epsilon`, the step's, or none.
    At decay 0 with one node an answer it is `Outcome` again. Groups that fared alike are silent when the critic
    compares siblings (divided by epsilon alone, what a memory says of them would count ten thousand times); unknown
    rows get no credit. Source: Numca and Hista (arXiv 2605.29782, section 4 and code).
    """

    decay: float = 1.0
    scale: Literal["group", "batch", "none"] = "group"
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], got {self.decay}")

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        known = told.all_known
        returns = told.per_token.sum(dim=(1, 2))
        mask = values.mask & batch.sampled_mask & known[:, None]
        paid = told.paid.where(mask, 0.0)
        nodes = values.node_index(batch)
        advantage = gae(paid, values.mean, values.bootstrap * 0, nodes, mask, 1.0, self.decay)
        scale = outcome_scale(self.scale, returns, known, batch.group_index, self.epsilon)
        flat = zero_variance_groups(returns, known, batch.group_index)
        silent = flat if values.uses_siblings else flat & False
        advantage = (advantage / scale[:, None]).where(mask & ~silent[:, None], 0.0)
        return Advantages(advantage, mask, silent, rule=f"node_gae/{self.scale}")
