"""Credit rescaled to mean 0 and standard deviation 1 over the sampled tokens of the whole step."""

from dataclasses import dataclass, replace

from critica.advantages.base import AdvantageRule
from critica.advantages.outcome import Outcome
from critica.functional.groups import standardize
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence
from critica.records.protocols import CriticTraits
from critica.records.views import ViewSpec


@dataclass(frozen=True, slots=True)
class Standardized(AdvantageRule):
    """(A - mean) / (std + epsilon) over all sampled, unmasked tokens of the step (ddof=1), as PPO libraries whiten.

    `center` false only rescales. It comes after any decoupling of decays, and so changes the weight of each length.
    """

    inner: AdvantageRule
    center: bool = True
    epsilon: float = 1e-6

    @property
    def needs(self) -> frozenset[type]:
        """As what is inside."""
        return self.inner.needs

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        """As what is inside."""
        return self.inner.views

    @property
    def scale_free(self) -> bool:
        """Around whatever is proportional to the rewards."""
        proportional = isinstance(self.inner, Outcome) and self.inner.scale != "mean"
        return proportional or self.inner.scale_free

    @property
    def divides_by_group_spread(self) -> bool:
        """As what is inside."""
        return self.inner.divides_by_group_spread

    @property
    def reads_own_tokens(self) -> bool:
        """As what is inside."""
        return self.inner.reads_own_tokens

    @property
    def shift_free(self) -> bool:
        """As what is inside."""
        return self.inner.shift_free

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        credit = self.inner.estimate(batch, told, values, evidence)
        if int(credit.mask.sum()) < 2:
            return credit
        scaled = standardize(credit.advantage, credit.mask, self.epsilon)
        if not self.center:
            spread = credit.advantage[credit.mask].std()
            scaled = (credit.advantage / (spread + self.epsilon)).where(credit.mask, 0.0)
        return replace(credit, advantage=scaled, rule=f"standardized({credit.rule})")

    def check(self, critic: CriticTraits) -> None:
        """Whatever the inner rule refuses."""
        self.inner.check(critic)
