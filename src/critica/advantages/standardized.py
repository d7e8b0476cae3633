"""Credit rescaled to mean 0 and standard deviation 1 over the sampled tokens of the whole step."""

from dataclasses import dataclass, replace

from critica.advantages.base import AdvantageRule, Around
from critica.advantages.outcome import Outcome
from critica.functional.groups import standardize
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Standardized(Around):
    """(A - mean) / (std + epsilon) over all sampled, unmasked tokens of the step (ddof=1), as PPO libraries whiten.

    `center` false only rescales. It comes after any decoupling of decays, and so changes the weight of each length.
    """

    inner: AdvantageRule
    center: bool = True
    epsilon: float = 1e-6

    @property
    def scale_free(self) -> bool:
        """Around whatever is proportional to the rewards."""
        proportional = isinstance(self.inner, Outcome) and self.inner.scale != "mean"
        return proportional or self.inner.scale_free

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        credit = self.inner.estimate(batch, told, values, evidence)
        if int(credit.mask.sum()) < 2:
            return credit
        scaled = standardize(credit.advantage, credit.mask, self.epsilon)
        if not self.center:
            spread = credit.advantage[credit.mask].std()
            scaled = (credit.advantage / (spread + self.epsilon)).where(credit.mask, 0.0)
        return replace(credit, advantage=scaled, rule=f"standardized({credit.rule})")
