"""An advantage rule of one's own: what is made of what was told and what was expected.

    critica train grpo --set advantage=my_advantage.py:MyAdvantage --steps 20 --run runs/mine
"""

from dataclasses import dataclass

from critica.advantages.base import AdvantageRule
from critica.records.arrays import Advantages


@dataclass(frozen=True)
class MyAdvantage(AdvantageRule):
    """Outcome minus expectation, and what is worse than expected counts less: `--set advantage.below=0.5`."""

    below: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.below <= 1:
            raise ValueError(f"below is a factor in [0, 1], got {self.below}")

    def estimate(self, batch, told, values, evidence) -> Advantages:
        """Credit for each token [N T]. It must be 0 wherever the mask is false, and carry no gradient."""
        known = told.all_known
        mask = batch.sampled_mask & values.mask & known[:, None]
        outcome = told.per_token.sum(dim=(1, 2))  # [N]; unknown rows are masked below
        error = outcome[:, None] - values.mean
        credit = error.where(error >= 0, self.below * error).where(mask, 0.0)
        return Advantages(credit, mask, zero_variance=~known, rule="my_advantage")
