"""The bounded critic: one number per token that cannot leave the reward's range (BPCO)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import LearnedCritic, read_width
from critica.critics.regularizers import Regularizer, build_regularizers, check_regularizers
from critica.critics.scalar import scalar_head
from critica.functional.bounds import bounded
from critica.functional.values import clipped_squared_error
from critica.policies.base import Backbone
from critica.records.arrays import Scalar, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class BoundedCritic(CriticPart):
    """V(s) = low + (high - low) (1/2 + atan(w . h + b) / pi), trained on 1/2 (V - target)^2 (BPCO, arXiv 2608.23566).

    A head of its own rather than a wrapper around any critic: the bound belongs between the linear layer and the loss.
    It starts in the middle of the range. It differs from `SuccessCritic`, which has one value a step, in link and loss:
    an outcome far from a certain value pulls z by (V - y) / (pi (1 + z^2)) in shares of the range, not by V - y. Use it
    with Monte-Carlo targets inside the declared range, where no update can throw a value far out. Not with per-token
    costs such as KL, whose sum may leave the range, nor where values sit at its very ends: they are reached only
    slowly. Costs what `ScalarCritic` costs, and near the middle is that critic at (high - low) / pi of the slope.
    `hidden` and `regularizers` as there.
    """

    body: Body = field(default_factory=OwnBody)
    hidden: int = 0
    regularizers: tuple[Regularizer, ...] = ()

    def __post_init__(self) -> None:
        if self.hidden < 0:
            raise ValueError(f"hidden counts units, got {self.hidden}; 0 is a linear head")
        check_regularizers(self.regularizers, self.body)

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        layers, width = build_regularizers(self.regularizers, context, read_width(reader, context))
        return LiveBoundedCritic(self.body, reader, scalar_head(width, self.hidden, context.seed), context, layers)


class LiveBoundedCritic(LearnedCritic):
    """A bounded critic with weights."""

    def __init__(
        self,
        body: Body,
        reader: Backbone | None,
        head: nn.Module,
        context: CriticContext,
        layers: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__(body, reader, head, context, layers)

    def _value(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S"]:
        return bounded(self.head(states).squeeze(-1), self.reward_low, self.reward_high)

    def means(self, shaped: Float[Tensor, "n E"]) -> Float[Tensor, "n"]:
        return self._value(shaped)

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        mean = scatter_sampled(self._value(states), batch.sampled_mask)
        return ValuePrediction(mean, batch.sampled_mask, bootstrap=self._value(ends))

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        if not isinstance(targets, Scalar):
            raise TypeError(f"a bounded critic learns from scalar targets, not {type(targets).__name__}")
        value = scatter_sampled(self._value(states), batch.sampled_mask)
        error = clipped_squared_error(value, targets.values, values.mean, 0.0)
        return (LossTerm("value", error, targets.mask, 1.0, TokenMean()),)
