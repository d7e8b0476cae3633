"""Credit: what is done with what was told and what was expected."""

from abc import ABC, abstractmethod

from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence
from critica.records.protocols import CriticTraits


class AdvantageRule(ABC):
    """A stateless rule from predictions and rewards to credit per token."""

    @abstractmethod
    def estimate(
        self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence
    ) -> Advantages: ...

    def check(self, critic: CriticTraits) -> None:
        """Raise ValueError, with the way out, if this rule cannot work with this critic."""
