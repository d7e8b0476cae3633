"""A loss before it is reduced: values, who counts, and by which rule they are averaged."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from critica.records.checks import require, require_shape


@dataclass(frozen=True, slots=True)
class TokenMean:
    """Sum over tokens / tokens of the whole step (DAPO, verl's default)."""


@dataclass(frozen=True, slots=True)
class SequenceMeanOfTokenMeans:
    """Mean over trajectories of each one's token mean (GRPO)."""


@dataclass(frozen=True, slots=True)
class SequenceMeanOfTokenSums:
    """Mean over trajectories of each one's token sum (RLOO, REINFORCE: the sequence log-prob)."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Sum over tokens / (trajectories x a constant number of tokens) (Dr. GRPO)."""

    tokens: int


Reduction = TokenMean | SequenceMeanOfTokenMeans | SequenceMeanOfTokenSums | Constant


@dataclass(frozen=True, slots=True)
class LossTerm:
    """One loss over the grid [N T], with its mask, its weight in the sum, and its reduction."""

    name: str
    values: Float[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    weight: float
    reduction: Reduction

    def __post_init__(self) -> None:
        require_shape(self, "mask", self.mask, tuple(self.values.shape))
        require(bool(self.name), self, "a loss term needs a name")
