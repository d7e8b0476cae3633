"""The Gaussian critic: a mean and a spread of the return, with dropout in its head (after STAC)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import LearnedCritic, read_width
from critica.critics.regularizers import Regularizer, build_regularizers, check_regularizers
from critica.critics.teaching import target_samples
from critica.functional.gaussian import gaussian_loss
from critica.functional.random import torch_generator
from critica.policies.base import Backbone
from critica.records.arrays import Gaussian, Law, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class GaussianCritic(CriticPart):
    """mu(s), sigma(s) from one hidden layer; loss = sigma^(2 balance) [ (y - mu)^2 / (2 sigma^2) + log sigma ].

    After STAC (arXiv 2601.00737; its equations were not to be had, so the form is our reading): the spread of one-step
    targets is what pessimism is scaled by, mu - beta sigma, in targets alone (`target.risk=minus_spread`). `hidden`
    ReLU units with `dropout` after them: drawn in training from torch's generator, which every step seeds, and absent
    in prediction. `balance` .5 (arXiv 2203.09168) keeps a wide spread from silencing the mean; 0 is the plain
    likelihood. `floor` bounds sigma from below, as a share of the reward's range; `fixed` above 0 is a sigma that
    does not learn (at 1: half the squared error).

    Use it for rewards on a scale, where returns have a spread of their own. Not for 0/1 outcomes at decay 1: sigma is
    then sqrt(p (1 - p)), a function of the mean. On-policy values have no maximum over actions to inflate them, so
    pessimism here mostly lowers the baseline where outcomes are uncertain. It costs one hidden layer beside the body.
    """

    hidden: int = 64
    dropout: float = 0.01
    balance: float = 0.5
    floor: float = 0.02
    fixed: float = 0.0
    body: Body = field(default_factory=OwnBody)
    regularizers: tuple[Regularizer, ...] = ()
    distributional: ClassVar[bool] = True
    law: ClassVar[type[Law]] = Gaussian

    def __post_init__(self) -> None:
        if self.hidden < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"hidden must be at least 1 and dropout in [0, 1), got {self.hidden} and {self.dropout}")
        if not 0 <= self.balance <= 1 or not self.floor > 0 or self.fixed < 0:
            raise ValueError("a Gaussian critic needs balance in [0, 1], floor > 0 and fixed >= 0 (0: sigma learns)")
        check_regularizers(self.regularizers, self.body)

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        layers, width = build_regularizers(self.regularizers, context, read_width(reader, context))
        return LiveGaussianCritic(self, reader, GaussianHead(self, context, width), context, layers)


class GaussianHead(nn.Module):
    """States [S, D] to mean [S] and spread [S]: at the start 0 and half of the reward's range."""

    def __init__(self, part: GaussianCritic, context: CriticContext, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, part.hidden)
        self.dropout = nn.Dropout(part.dropout)
        self.output = nn.Linear(part.hidden, 1 if part.fixed else 2)
        for zero in (self.hidden.bias, self.output.weight, self.output.bias):
            nn.init.zeros_(zero)
        with torch.no_grad():
            generator = torch_generator(context.seed, "critic/gaussian")
            self.hidden.weight.uniform_(-(width**-0.5), width**-0.5, generator=generator)
        span = context.reward_high - context.reward_low
        self.floor, self.span, self.fixed = part.floor * span, span, part.fixed

    def forward(self, states: Float[Tensor, "S D"]) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
        """Mean and spread."""
        made = self.output(self.dropout(torch.relu(self.hidden(states))))
        mean = made[..., 0]
        if self.fixed:
            return mean, torch.full_like(mean, self.fixed)
        # softplus(log(e^(1/2) - 1)) = 1/2
        raw = made[..., 1] + math.log(math.expm1(0.5))
        return mean, self.floor + self.span * nn.functional.softplus(raw)


class LiveGaussianCritic(LearnedCritic):
    """A Gaussian critic with weights."""

    def __init__(
        self,
        part: GaussianCritic,
        reader: Backbone | None,
        head: GaussianHead,
        context: CriticContext,
        layers: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__(part.body, reader, head, context, layers)
        self.balance = part.balance

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        mean, spread = self.head(states)
        final, final_spread = self.head(ends)
        return ValuePrediction(
            scatter_sampled(mean, batch.sampled_mask),
            batch.sampled_mask,
            bootstrap=final,
            law=Gaussian(scatter_sampled(spread, batch.sampled_mask)),
            bootstrap_law=Gaussian(final_spread[:, None]),
        )

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        chosen = targets.mask[batch.sampled_mask]
        mean, spread = self.head(states)
        samples, weights = target_samples(targets)
        error = gaussian_loss(mean[chosen], spread[chosen], samples.to(mean), weights.to(mean), self.balance)
        return (LossTerm("value", scatter_sampled(error, targets.mask), targets.mask, 1.0, TokenMean()),)
