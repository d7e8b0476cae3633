"""The scalar critic: one number per token, from a head whose output layer starts at zero."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import LearnedCritic, read_width
from critica.critics.regularizers import Regularizer, build_regularizers, check_regularizers
from critica.functional.random import torch_generator
from critica.functional.values import clipped_squared_error
from critica.policies.base import Backbone
from critica.records.arrays import Scalar, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class ScalarCritic(CriticPart):
    """V(s) = w . h + b, trained on 1/2 (V - target)^2.

    `clip` > 0 is PPO's clipped value loss max(err(V), err(V_old +- clip)) (arXiv 1707.06347, in released code); 0: off.
    Use it first: it is PPO's critic and what every other one is compared with. Not where rewards are noisy and risk
    matters (`quantile`), where targets have no scale (`categorical`), or where no update may throw a value out of the
    range (`bounded`). Costs a forward and a backward pass of its body, as much again as the policy's update; with
    body=shared next to nothing. `hidden` > 0 puts one ReLU layer of so many units before w. `regularizers` stand
    between body and head, in order.
    """

    body: Body = field(default_factory=OwnBody)
    clip: float = 0.0
    hidden: int = 0
    regularizers: tuple[Regularizer, ...] = ()

    def __post_init__(self) -> None:
        if self.clip < 0:
            raise ValueError(f"clip cannot be negative, got {self.clip}; 0 switches it off")
        if self.hidden < 0:
            raise ValueError(f"hidden counts units, got {self.hidden}; 0 is a linear head")
        check_regularizers(self.regularizers, self.body)

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        layers, width = build_regularizers(self.regularizers, context, read_width(reader, context))
        return LiveScalarCritic(self, reader, scalar_head(width, self.hidden, context.seed), context, layers)


def scalar_head(width: int, hidden: int, seed: int) -> nn.Module:
    """A linear head of zeros, or a ReLU layer of drawn weights before one."""
    output = nn.Linear(hidden or width, 1)
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    if not hidden:
        return output
    first, bound = nn.Linear(width, hidden), width**-0.5
    with torch.no_grad():
        first.weight.uniform_(-bound, bound, generator=torch_generator(seed, "critic/hidden"))
        first.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), output)


class LiveScalarCritic(LearnedCritic):
    """A scalar critic with weights."""

    def __init__(
        self,
        part: ScalarCritic,
        reader: Backbone | None,
        head: nn.Module,
        context: CriticContext,
        layers: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__(part.body, reader, head, context, layers)
        self.part = part

    def reader(self) -> Callable[[Float[Tensor, "n D"]], Float[Tensor, "n"]]:
        """A linear head on bare states is one product, rounded otherwise than in `expect` in the last places."""
        if self.part.hidden or len(self.shapers):
            return super().reader()
        assert isinstance(self.head, nn.Linear)
        weight, bias = self.head.weight[0].detach(), self.head.bias.detach()
        return lambda states: torch.addmv(bias, states.to(weight.dtype), weight)

    def means(self, shaped: Float[Tensor, "n E"]) -> Float[Tensor, "n"]:
        return self.head(shaped).squeeze(-1)

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
