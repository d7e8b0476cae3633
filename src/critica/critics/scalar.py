"""The scalar critic: one number per token, from a linear head that starts at zero."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import LearnedCritic, read_width
from critica.functional.values import clipped_squared_error
from critica.policies.base import Backbone
from critica.records.arrays import Scalar, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class ScalarCritic(CriticPart):
    """V(s) = w . h + b, trained on 1/2 (V - target)^2.

    `clip` > 0 is PPO's clipped value loss max(err(V), err(V_old +- clip)) (arXiv 1707.06347, in released code); 0: off.
    """

    body: Body = field(default_factory=OwnBody)
    clip: float = 0.0

    def __post_init__(self) -> None:
        if self.clip < 0:
            raise ValueError(f"clip cannot be negative, got {self.clip}; 0 switches it off")

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        head = nn.Linear(read_width(reader, context), 1)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return LiveScalarCritic(self, reader, head, context)


class LiveScalarCritic(LearnedCritic):
    """A scalar critic with weights."""

    def __init__(
        self, part: ScalarCritic, reader: Backbone | None, head: nn.Linear, context: CriticContext
    ) -> None:
        super().__init__(part.body, reader, head, context)
        self.part = part

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        mean = scatter_sampled(self.head(states).squeeze(-1), batch.sampled_mask)
        return ValuePrediction(mean, batch.sampled_mask, bootstrap=self.head(ends).squeeze(-1))

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        if not isinstance(targets, Scalar):
            raise TypeError(f"a scalar critic learns from scalar targets, not {type(targets).__name__}")
        value = scatter_sampled(self.head(states).squeeze(-1), batch.sampled_mask)
        error = clipped_squared_error(value, targets.values, values.mean, self.part.clip)
        return (LossTerm("value", error, targets.mask, 1.0, TokenMean()),)

