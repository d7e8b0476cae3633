"""VAPO's positive-example loss: beside reinforcement, imitate the answers that were told to be right."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from critica.records.arrays import RewardBatch


@dataclass(frozen=True, slots=True)
class PositiveExamples:
    """weight * (sum of -log pi over the trained tokens of positive rows) / (how many those are in the optimizer step).

    Positive is a row whose told outcome is known and above `above`. Source: VAPO (arXiv 2504.05118), mu = 0.1; the
    threshold is not stated there. Use it where right answers are rare; not under noisy rewards, where it imitates
    wrong answers that were told to be right. With no positive row, or weight 0, nothing changes, bit for bit.
    """

    weight: float = 0.1
    above: float = 0.0
    name: ClassVar[str] = "positive_examples"
    needs: ClassVar[frozenset[type]] = frozenset()

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"the weight of positive examples cannot be negative, got {self.weight}")

    def rows(self, told: RewardBatch) -> Bool[Tensor, "N"]:
        """Which rows are imitated."""
        return told.all_known & (told.total.nan_to_num(0.0) > self.above)

    def values(
        self,
        policy_logprobs: Float[Tensor, "N T"],
        entropies: Float[Tensor, "N T"],
        reference_logprobs: Float[Tensor, "N T"] | None,
    ) -> Float[Tensor, "N T"]:
        """Minus the log-probability of each token."""
        return -policy_logprobs
