"""Group regression: within a prompt, log-ratios are to differ exactly as much as outcomes do, in units of beta."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from critica.functional.groups import group_sizes
from critica.functional.preferences import centered
from critica.objectives.base import Objective, TokenScores
from critica.objectives.pair_rules import refuse_strength
from critica.objectives.preference import log_ratios
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class GroupRegression(Objective):
    """1 / (2 (G - 1)) sum_i ((b_i - mean b) - (R_i - mean R))^2, b_i = beta log pi / anchor of the whole answer.

    Averaged over prompts (of unequal groups, over answers). R is what credit is made of too: the told outcome and any
    charges per token. Its one minimizer is anchor exp(R / beta) / Z, whatever law the answers were drawn from, as long
    as every answer can be drawn; Z drops out because only differences of siblings count. The same number is a quarter
    of the mean over pairs of siblings of ((b_i - b_j) - (R_i - R_j))^2. The anchor is the policy at the start of the
    step (`initial_share` 0, as in the authors' code) or the initial policy (1: the optimum is then that of RLHF), or a
    geometric mixture. With the start of the step as the anchor and one update, the gradient is -beta times that of
    the leave-one-out REINFORCE objective, and each step moves on.

    Use it in place of clipping with answers of older policies, and where outcomes have a scale. Not where outcomes are
    mere orders (take `PairLoss`), nor with long answers and a small beta: gaps of log-ratios are sums over tokens.
    Needs two known outcomes a prompt. Source: GVPO (arXiv 2504.19599) and its code's defaults.
    """

    beta: float = 0.1
    initial_share: float = 0.0

    def __post_init__(self) -> None:
        refuse_strength("beta", self.beta)
        if not 0 <= self.initial_share <= 1:
            raise ValueError(
                f"initial_share mixes the initial policy (1) and that of the step's start (0), got {self.initial_share}"
            )

    @property
    def needs(self) -> frozenset[type]:
        """The initial policy's log-probs, unless the anchor is the step's start alone."""
        return frozenset({ReferenceLogprobs} if self.initial_share else ())

    @property
    def couples_rows(self) -> bool:
        return True

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """Every token with credit."""
        return {"regression": credit.mask}

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        """One term over [N 1]: a number for each answer."""
        known = told.all_known & credit.mask.any(-1)
        size = group_sizes(known, batch.group_index)
        trained = known & (size >= 2)
        ratio = log_ratios(scores, credit.mask, evidence, self.initial_share)
        wanted = told.paid.sum(-1).to(ratio.dtype)
        apart = centered(self.beta * ratio - wanted, known, batch.group_index)
        values = apart.square() * (size / (2 * (size - 1).clamp(min=1))).to(ratio.dtype)
        reached = centered(ratio.detach(), known, batch.group_index)[trained].abs()
        metrics = (Metric("policy/ratio_spread", float(reached.sum()), float(trained.sum())),)
        return (LossTerm("regression", values[:, None], trained[:, None], 1.0, TokenMean()),), metrics
