"""The success critic: the probability of a right answer, said at the beginning of each step and taught by BCE."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import read_width
from critica.critics.regularizers import Regularizer, build_regularizers, check_regularizers
from critica.critics.scalar import scalar_head
from critica.critics.stepwise import StepCritic
from critica.functional.steps import Steps, over_steps
from critica.policies.base import Backbone
from critica.records.arrays import (
    Bernoulli,
    Point,
    Scalar,
    TokenBatch,
    ValuePrediction,
    ValueTargets,
    scatter_sampled,
)
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class SuccessCritic(CriticPart):
    """V(s) = low + (high - low) sigmoid(w . h + b), by cross-entropy against the outcome's place in [low, high].

    With outcomes in {0, 1}: P(correct | s). A value is that of its step's first token; `steps` says what a step is.
    It differs from `BoundedCritic` in its steps and in what pulls the output z of its head: V - y, not
    (V - y) / (pi (1 + z^2)), in shares of the range. The critic of Direct Advantage Policy Optimization (arXiv
    2412.18279); teach it with target=step_starts, so that long steps count no more than short ones. Use it where
    outcomes are right or wrong; not with rewards that are not bounded, nor with costs beside the outcome (KL), which
    would be cut off at the range. Costs what `ScalarCritic` costs. With steps of one token and target=monte_carlo it is
    a classifier at every token.
    """

    steps: Steps = Steps()
    body: Body = field(default_factory=OwnBody)
    hidden: int = 0
    regularizers: tuple[Regularizer, ...] = ()

    def __post_init__(self) -> None:
        if self.hidden < 0:
            raise ValueError(f"hidden counts units, got {self.hidden}; 0 is a linear head")
        check_regularizers(self.regularizers, self.body)

    def build(self, context: CriticContext) -> ValueCritic:
        if not context.reward_high > context.reward_low:
            raise ValueError(f"rewards lie in [{context.reward_low:g}, {context.reward_high:g}]: nothing to classify")
        reader = self.body.build(context.policy)
        layers, width = build_regularizers(self.regularizers, context, read_width(reader, context))
        head = scalar_head(width, self.hidden, context.seed)
        return LiveSuccessCritic(self, reader, head, context, tuple(layers))


class LiveSuccessCritic(StepCritic):
    """A success critic with weights."""

    def __init__(
        self,
        part: SuccessCritic,
        reader: Backbone | None,
        head: nn.Module,
        context: CriticContext,
        layers: tuple[nn.Module, ...] = (),
    ) -> None:
        super().__init__(part.steps, part.body, reader, head, context, layers)

    def _value(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S"]:
        share = torch.sigmoid(self.head(states).squeeze(-1))
        return self.reward_low + (self.reward_high - self.reward_low) * share

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        nodes = self.nodes(batch)
        mean = over_steps(scatter_sampled(self._value(states), batch.sampled_mask), nodes, batch.sampled_mask)
        unit = (self.reward_low, self.reward_high) == (0.0, 1.0)
        law = Bernoulli() if unit else Point()
        return ValuePrediction(mean, batch.sampled_mask, self._value(ends), law=law, bootstrap_law=law, nodes=nodes)

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        if not isinstance(targets, Scalar):
            raise TypeError(f"a success critic learns from scalar targets, not {type(targets).__name__}")
        logit = scatter_sampled(self.head(states).squeeze(-1), batch.sampled_mask)
        share = ((targets.values - self.reward_low) / (self.reward_high - self.reward_low)).clamp(0, 1).to(logit.dtype)
        error = nn.functional.binary_cross_entropy_with_logits(logit, share, reduction="none")
        return (LossTerm("value", error, targets.mask, 1.0, TokenMean()),)
