"""The bridge between the two halves: what was told, shrunk toward what a critic expects of the finished answer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction

Expect = Callable[[RewardBatch], ValuePrediction]


class CannotDenoise(ValueError):
    """This critic's value cannot stand in for a reward; the text says which can."""


@dataclass(frozen=True, slots=True)
class Denoise:
    """told' = (1 - weight) told + weight V, V being the critic's value before the answer's last token.

    V is what answers like this one were told on average: noise that is not a function of the answer averages out of
    it over all prompts, also where a whole group was flipped. What the critic cannot see in the answer is lost with
    it. Only critics that do not use the trajectory's own outcome are taken: the others would be told their own echo.
    The first `after_steps` steps are told as they are, while the critic learns.
    """

    weight: float = 0.0
    after_steps: int = 10

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight <= 1.0:
            raise ValueError(f"placement.denoise.weight is {self.weight}: a share, between 0 and 1")
        if self.after_steps < 0:
            raise ValueError("placement.denoise.after_steps cannot be negative")

    def share(self, step: int) -> float:
        """How much the critic says at this step."""
        return self.weight if step > self.after_steps else 0.0


def denoised(
    told: Float[Tensor, "N"], batch: TokenBatch, last: Tensor, expected: ValuePrediction, share: float
) -> Float[Tensor, "N"]:
    """The shrunk outcome; as told where the critic says nothing. Raises `CannotDenoise` for an echo."""
    if expected.uses_own_outcome:
        raise CannotDenoise(
            "placement.denoise needs a critic that does not use the trajectory's own outcome: take a learned one"
            " (critic=quantile, scalar, surprise), not a counted one"
        )
    rows = torch.arange(batch.rows, device=batch.device)
    value, speaks = expected.mean[rows, last], expected.mask[rows, last]
    return torch.where(speaks, (1 - share) * told + share * value.to(told.dtype), told)
