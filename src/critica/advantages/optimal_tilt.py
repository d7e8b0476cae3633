"""The log-ratio that a whole answer should have: its outcome less the optimal value of its prompt."""

from dataclasses import dataclass

import torch

from critica.advantages.base import AdvantageRule
from critica.functional.groups import group_sizes
from critica.functional.tilting import log_partition
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, ReferenceLogprobs


@dataclass(frozen=True, slots=True)
class OptimalTilt(AdvantageRule):
    """(R - V*) / beta with V* = t log E_{y ~ pi_ref} exp(R / t), t = `value_temperature`: A*-PO's regression target.

    V* is what the best policy earns whose KL to the reference costs t a nat; the mean over siblings is weighted by
    pi_ref / (the policy that sampled) of each whole answer. Every token of an answer carries its one number, for
    `LogRatioRegression`, whose minimizer is pi_ref exp((R - V*) / beta). At t = beta that is a law, pi_ref
    exp(R / beta) / Z; the published pair (0.5, 0.001) has t far above beta, and the target is then in effect a policy
    gradient with V* as the baseline. As t grows V* becomes the mean outcome, as it falls the best one.

    Use it where answers of the reference say how hard a prompt is. Not once policy and reference share little: the
    weights then rest on one sibling (A*-PO samples the reference itself, before training: eight answers a prompt). Rows
    of prompts with fewer than two known outcomes are not trained. Costs the reference's forward pass.
    Source: A*-PO (arXiv 2505.20686); defaults as in TRL's `experimental/a2po`.
    """

    value_temperature: float = 0.5
    beta: float = 1e-3

    def __post_init__(self) -> None:
        if not (self.value_temperature > 0 and self.beta > 0):
            raise ValueError("value_temperature and beta are rewards that one nat is worth, above 0")

    @property
    def needs(self) -> frozenset[type]:
        """The reference's log-probs, which weigh the siblings."""
        return frozenset({ReferenceLogprobs})

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        known = told.all_known & (group_sizes(told.all_known, batch.group_index) >= 2)
        mask = values.mask & batch.sampled_mask & known[:, None]
        outcome = told.paid.sum(-1).double()
        away = (evidence[ReferenceLogprobs].logprobs - batch.behavior_logprobs).double()
        weight = torch.where(batch.sampled_mask, away, 0.0).sum(-1)
        best = torch.zeros_like(outcome)
        tilt = outcome[known] / self.value_temperature
        best[known] = self.value_temperature * log_partition(tilt, weight[known], batch.group_index[known])
        target = ((outcome - best) / self.beta).to(values.mean.dtype)[:, None].expand(mask.shape).where(mask, 0.0)
        nodes = torch.where(mask, 0, -1)
        return Advantages(target, mask, told.all_known & False, "optimal_tilt", nodes)
