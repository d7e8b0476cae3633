"""The log-ratio that each step should have: what the value did there, in units of a temperature."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.advantages.base import AdvantageRule
from critica.functional.gae import gae
from critica.functional.prefix_names import prefix_names
from critica.functional.steps import over_steps, step_starts, step_sums
from critica.functional.tilting import log_partition
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.protocols import CriticTraits


@dataclass(frozen=True, slots=True)
class StepTilt(AdvantageRule):
    """A(s, step) / beta - log Z(s), with A = V(s + step) - V(s) and, after the last step, the outcome less V(s).

    The target of `LogRatioRegression`, which every token of a step carries (Direct Advantage Policy Optimization,
    arXiv 2412.18279). `beta`: how much value a nat of log-ratio must be worth. `partition` siblings: log Z(s) is the
    log of the mean of exp(A / beta) under the reference, over the group's steps that begin with the very same tokens,
    where there are two or more (importance-weighted, as they were drawn from the policy). The published loss has none,
    and its minimizer is then not quite pi_ref exp(A / beta) / Z. A constant added to A(s, .) changes nothing only where
    log Z is subtracted. Use it with a critic that sees steps. At the last step, V(s + step) is the told outcome, with
    all its noise.
    """

    beta: float = 0.1
    partition: Literal["none", "siblings"] = "none"

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta, the value that one nat of log-ratio is worth, must be above 0, got {self.beta}")

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        mask = values.mask & batch.sampled_mask & told.all_known[:, None]
        nodes = values.node_index(batch)
        paid = told.paid.where(mask, 0.0)
        tilt = gae(paid, values.mean, values.bootstrap * 0, nodes, mask, 1.0, 0.0) / self.beta
        if self.partition == "siblings":
            away = evidence[ReferenceLogprobs].logprobs - batch.behavior_logprobs
            tilt = tilt - over_steps(sibling_partition(tilt, away, batch, nodes, mask), nodes, mask)
        return Advantages(tilt.where(mask, 0.0), mask, told.all_known & False, f"step_tilt/{self.partition}", nodes)

    def check(self, critic: CriticTraits) -> None:
        """Refuse a baseline flat along the answer: no step of it would change the value."""
        if critic.flat:
            raise ValueError(
                "advantage.use = 'step_tilt' needs a critic with a value at every step, and this one has one an answer;"
                " set critic=success, or advantage=outcome with another objective"
            )


def sibling_partition(
    tilt: Float[Tensor, "N T"],
    away: Float[Tensor, "N T"],
    batch: TokenBatch,
    nodes: Int[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
) -> Float[Tensor, "N T"]:
    """log Z at the first token of each step, over the group's steps that follow the same tokens; zero elsewhere.

    `away`: log pi_ref - log pi of each token, which the steps were drawn from.
    """
    starts = step_starts(nodes, mask)
    names = prefix_names(batch.token_ids, batch.lengths, batch.group_index)
    weight = step_sums(away.to(tilt.dtype), nodes, mask)
    return torch.zeros_like(tilt).masked_scatter(starts, log_partition(tilt[starts], weight[starts], names[starts]))
