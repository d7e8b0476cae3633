"""VAPO's positive-example loss: beside reinforcement, imitate the answers that were told to be right."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from critica.objectives.base import Penalty, TokenScores
from critica.records.arrays import RewardBatch
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class PositiveExamples(Penalty):
    """weight * (sum of -log pi over the trained tokens of positive rows) / (how many those are in the optimizer step).

    Positive is a row whose told outcome is known and above `above`. Source: VAPO (arXiv 2504.05118), mu = 0.1; the
    threshold is not stated there. Use it where right answers are rare; not under noisy rewards, where it imitates
    wrong answers that were told to be right. With no positive row, or weight 0, nothing changes, bit for bit.
    """

    weight: float = 0.1
    above: float = 0.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"the weight of positive examples cannot be negative, got {self.weight}")

    @property
    def name(self) -> str:
        return "positive_examples"

    @property
    def reads_outcomes(self) -> bool:
        return True

    def rows(self, told: RewardBatch) -> Bool[Tensor, "N"]:
        """Which rows are imitated."""
        return told.all_known & (told.total.nan_to_num(0.0) > self.above)

    def values(self, scores: TokenScores, evidence: Evidence) -> Float[Tensor, "N T"]:
        return -scores.policy_logprobs
