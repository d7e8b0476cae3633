"""Direct Advantage Policy Optimization's loss: the log-ratio of each step to the reference is regressed on a number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.steps import step_starts, step_sums
from critica.objectives.base import Objective, TokenScores
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class LogRatioRegression(Objective):
    """(sum over the step's tokens of (log pi - log pi_ref) - target)^2, averaged over steps (arXiv 2412.18279).

    The target is the credit itself, the log-ratio that the step should have: `StepTilt` makes it, A / beta less a
    log-partition. It counts once a step, at its first token; credit without steps counts once a token. The pull ends
    where the target is met, so that no clip and no KL term is needed, and answers of an older policy serve as well.
    Use it with a critic that is frozen meanwhile (curriculum=critic_then_policy): the target must not move. Not with
    long steps and a small beta: the log-ratio is a sum, and its square is dominated by long steps.
    `per_token` divides log-ratio and target by the number of the step's tokens: the same minimizer, other weights.
    """

    per_token: bool = False
    needs: ClassVar[frozenset[type]] = frozenset({ReferenceLogprobs})  # type: ignore[misc]

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """The first token of every step that has a target."""
        return {"log_ratio": credit.mask if credit.nodes is None else step_starts(credit.nodes, credit.mask)}

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        mask = self.masks(credit, told)["log_ratio"]
        ratio = scores.policy_logprobs - evidence[ReferenceLogprobs].logprobs
        lengths = credit.mask.to(ratio.dtype)
        if credit.nodes is not None:
            ratio = step_sums(ratio, credit.nodes, credit.mask)
            lengths = step_sums(lengths, credit.nodes, credit.mask)
        gap = squared_gap(ratio, credit.advantage.to(ratio.dtype), lengths if self.per_token else None)
        reached = float((ratio.detach() * mask).sum())
        metrics = (Metric("policy/step_log_ratio", reached, float(mask.sum())),)
        return (LossTerm("log_ratio", gap, mask, 1.0, TokenMean()),), metrics


def squared_gap(
    ratio: Float[Tensor, "N T"], target: Float[Tensor, "N T"], lengths: Float[Tensor, "N T"] | None
) -> Float[Tensor, "N T"]:
    """(ratio - target)^2, both divided by `lengths` if they are given."""
    gap = ratio - target
    return gap.square() if lengths is None else (gap / lengths.clamp(min=1)).square()
