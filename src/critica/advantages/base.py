"""Credit: what is done with what was told and what was expected."""

from abc import ABC, abstractmethod

from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence
from critica.records.protocols import CriticTraits
from critica.records.views import ViewSpec


class AdvantageRule(ABC):
    """A stateless rule from predictions and rewards to credit per token."""

    @abstractmethod
    def estimate(
        self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence
    ) -> Advantages: ...

    @property
    def needs(self) -> frozenset[type]:
        """Evidence that it reads."""
        return frozenset()

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        """Other readings of the same tokens that it compares with, by name in `evidence[Views]`."""
        return ()

    @property
    def scale_free(self) -> bool:
        """Whether stretching all rewards and all values alike leaves the credit as it is, up to its epsilon."""
        return False

    @property
    def divides_by_group_spread(self) -> bool:
        """Whether each group is stretched to one spread: whatever stretched a group as a whole is undone."""
        return False

    @property
    def reads_own_tokens(self) -> bool:
        """Whether it weighs a token by what was drawn there: its expected gradient is then not that of the return."""
        return False

    @property
    def shift_free(self) -> bool:
        """Whether adding one number to all rewards and all values leaves the credit exactly as it is."""
        return False

    def check(self, critic: CriticTraits) -> None:
        """Raise ValueError, with the way out, if this rule cannot work with this critic."""


class Around(AdvantageRule):
    """Around another rule, `inner`: what that rule reads, refuses and is free of, so does and is this one."""

    inner: AdvantageRule

    @property
    def needs(self) -> frozenset[type]:
        return self.inner.needs

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        return self.inner.views

    @property
    def scale_free(self) -> bool:
        return self.inner.scale_free

    @property
    def divides_by_group_spread(self) -> bool:
        return self.inner.divides_by_group_spread

    @property
    def reads_own_tokens(self) -> bool:
        return self.inner.reads_own_tokens

    @property
    def shift_free(self) -> bool:
        return self.inner.shift_free

    def check(self, critic: CriticTraits) -> None:
        self.inner.check(critic)
