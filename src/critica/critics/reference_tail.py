"""Targets for rows that were begun by guidance and finished by the policy alone: the return from the switch on."""

from dataclasses import dataclass

import torch

from critica.critics.targets import MonteCarlo, TargetRule
from critica.functional.guidance import switch_of
from critica.records.arrays import RewardBatch, Scalar, TokenBatch, ValuePrediction, ValueTargets


@dataclass(frozen=True, slots=True)
class ReferenceTail(TargetRule):
    """The row's outcome as the target of its tokens t >= h, where the policy writes alone (Q#, arXiv 2502.20548).

    Before the switch h tokens were guided, and what followed them is no sample of the policy's own reward-to-go: they
    are no targets. h is drawn by the row's name (`functional.guidance.switch_of`), by the same rule as
    control=value_guidance draws it, so `roll_in` must be that control's. At 1 every token is a target: `monte_carlo`.
    """

    roll_in: int = 16

    def __post_init__(self) -> None:
        if self.roll_in < 1:
            raise ValueError(f"target.roll_in is the latest switch, counted in tokens from 1; got {self.roll_in}")

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        whole = MonteCarlo().build(batch, told, values)
        assert isinstance(whole, Scalar)
        switches = torch.tensor([switch_of(name, self.roll_in) for name in batch.trajectory_ids], device=batch.device)
        number = batch.sampled_mask.cumsum(-1)  # of each sampled token in its row, from 1
        mask = whole.mask & (number >= switches[:, None])
        return Scalar(whole.values.where(mask, 0.0), mask)
