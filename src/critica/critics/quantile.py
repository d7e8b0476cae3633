"""DVPO's critic: an ensemble of heads that predict the return's quantiles, monotone by construction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import LearnedCritic, read_width
from critica.critics.regularizers import Regularizer, build_regularizers, check_regularizers
from critica.critics.teaching import target_samples
from critica.functional.quantiles import empirical_quantiles, midpoint_levels, monotone_quantiles, quantile_huber
from critica.functional.random import torch_generator
from critica.functional.tails import (
    head_consistency,
    mean_shift,
    optimism,
    risk_weights,
    tail_curvature,
    tail_mean_gap,
    tail_shape,
)
from critica.policies.base import Backbone
from critica.policies.kernels import kernels_for
from critica.records.arrays import (
    Law,
    Quantiles,
    Samples,
    TokenBatch,
    ValuePrediction,
    ValueTargets,
    scatter_sampled,
)
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class AsymmetricTail:
    """DVPO's regularizers of the two tails (arXiv 2512.03847, eqs. 5-9), each with its weight; 0 switches it off.

    `lower`, `upper`: the share of quantiles that makes each tail. `calibration` and `gain` pull the tails' means to
    the target's, `shift` punishes a mean below the target's, `shape` punishes a lower tail wider and an upper tail
    narrower than the target's. `curvature` is off: a binary return's quantile function is a step, not a curve. `risk`
    is no penalty: it weights the quantile loss by exp(-risk level), scaled to mean 1 (eq. 4), toward the lower
    quantiles above 0 and toward the upper ones below.
    """

    lower: float = 0.1
    upper: float = 0.1
    calibration: float = 0.1
    gain: float = 0.1
    shift: float = 0.1
    shape: float = 0.1
    curvature: float = 0.0
    risk: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.lower <= 0.5 and 0 < self.upper <= 0.5):
            raise ValueError(f"tails are shares in (0, 0.5], got lower={self.lower}, upper={self.upper}")
        if min(self.calibration, self.gain, self.shift, self.shape, self.curvature) < 0:
            raise ValueError("the weight of a tail term cannot be negative; 0 switches it off")

    @property
    def active(self) -> bool:
        """Whether any term compares the law's tails with the target's."""
        return max(self.calibration, self.gain, self.shift, self.shape, self.curvature) > 0

    def weights(self, levels: Float[Tensor, "K"]) -> Float[Tensor, "K"]:
        """What each quantile's loss is multiplied by."""
        return risk_weights(levels, abs(self.risk), "lower" if self.risk >= 0 else "upper")

    def penalty(self, ensemble: Float[Tensor, "S K"], target: Float[Tensor, "S K"]) -> Float[Tensor, "S"]:
        """The weighted sum of the active terms for each state; both arguments sorted along K."""
        total = ensemble.new_zeros(ensemble.shape[0])
        if self.calibration:
            total = total + self.calibration * tail_mean_gap(ensemble, target, self.lower, "lower")
        if self.gain:
            total = total + self.gain * tail_mean_gap(ensemble, target, self.upper, "upper")
        if self.shift:
            total = total + self.shift * mean_shift(ensemble, target)
        if self.shape:
            total = total + self.shape * tail_shape(ensemble, target, self.lower, self.upper)
        if self.curvature:
            total = total + self.curvature * tail_curvature(ensemble, self.lower, self.upper)
        return total


@dataclass(frozen=True, slots=True)
class Conservatism:
    """Pushes down what heads and quantiles hold possible beyond what was seen (`functional/tails.py: optimism`).

    `weight` 0 switches it off. `temperature` in units of return: how soft the largest possible return is.
    """

    weight: float = 0.0
    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.weight < 0 or not self.temperature > 0:
            raise ValueError("conservatism needs weight >= 0 (0 is off) and temperature > 0")


SHAPE_GAIN = 8.0  # a step of the law must travel far in logits: without it the mean settles on the median meanwhile
NO_TAIL = AsymmetricTail(calibration=0.0, gain=0.0, shift=0.0, shape=0.0, curvature=0.0)


@dataclass(frozen=True, slots=True)
class QuantileCritic(CriticPart):
    """q_m(s) in R^K for m = 1..M at midpoint levels (k - 1/2) / K; V(s) is the mean over m and k.

    Each head is a ReLU layer of `hidden` units with weights of its own and a zero-initialized output (equal heads
    with zero outputs would receive equal gradients forever, so the hidden layers differ). Trained by quantile Huber
    regression per head (Dabney et al. 2018, arXiv 1710.10044; DVPO eq. 3), the tail terms on the ensemble mean, and
    `consistency` between heads (eq. 10, normalized by K). `huber` is the threshold in units of return: at 1 and
    returns in [0, 1] the loss would be an expectile's, so it is smaller; 0 is the plain pinball loss. While a law is
    still narrow its quantile loss pulls the mean to the median, which on 0/1 returns is far off, and the actor sees
    nothing but the mean: so the mean of each head is also fitted by squared error, with weight `mean` (0: the paper).

    Use it for noisy supervision, and for `risk` in the advantage. Not on 0/1 outcomes at decay 1 for the law's own
    sake: there the mean is the law. One head, one quantile, a huge `huber` and no extras is the scalar critic at half
    the weight. It costs a head of M hidden layers beside the body: the number of quantiles hardly matters.
    `conservatism` and `regularizers` (between body and head) are off.
    """

    heads: int = 3
    quantiles: int = 20
    hidden: int = 64
    huber: float = 0.25
    mean: float = 1.0
    consistency: float = 0.1
    tail: AsymmetricTail = field(default_factory=AsymmetricTail)
    conservatism: Conservatism = Conservatism()
    body: Body = field(default_factory=OwnBody)
    regularizers: tuple[Regularizer, ...] = ()
    distributional: ClassVar[bool] = True
    law: ClassVar[type[Law]] = Quantiles

    def __post_init__(self) -> None:
        if self.heads < 1 or self.quantiles < 1 or self.hidden < 1:
            raise ValueError("heads, quantiles and hidden must be at least 1")
        if min(self.huber, self.mean, self.consistency) < 0:
            raise ValueError("huber, mean and consistency cannot be negative")
        check_regularizers(self.regularizers, self.body)

    @property
    def needs_distributional_targets(self) -> bool:
        """Tail terms against a point target pull both tails to it (value-critics note, 1.6.3)."""
        return self.tail.active

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        layers, width = build_regularizers(self.regularizers, context, read_width(reader, context))
        return LiveQuantileCritic(self, reader, QuantileHeads(self, context, width), context, layers)


class QuantileHeads(nn.Module):
    """States [S, D] to quantiles [S, M, K]."""

    def __init__(self, part: QuantileCritic, context: CriticContext, width: int) -> None:
        super().__init__()
        generator = torch_generator(context.seed, "critic/heads")
        bound = width**-0.5
        self.hidden_weight = nn.Parameter(torch.empty(part.heads * part.hidden, width))
        self.hidden_bias = nn.Parameter(torch.zeros(part.heads * part.hidden))
        self.output_weight = nn.Parameter(torch.zeros(part.heads, part.hidden, part.quantiles))
        self.output_bias = nn.Parameter(torch.zeros(part.heads, part.quantiles))
        with torch.no_grad():
            self.hidden_weight.uniform_(-bound, bound, generator=generator)
        self.heads, self.hidden, self.quantiles = part.heads, part.hidden, part.quantiles
        self.span = context.reward_high - context.reward_low

    def forward(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S M K"]:
        """Output 0 is the mean, the rest are raw increments between neighboring quantiles."""
        hidden = torch.relu(nn.functional.linear(states, self.hidden_weight, self.hidden_bias))
        hidden = hidden.view(-1, self.heads, self.hidden).transpose(0, 1)
        raw = (torch.bmm(hidden, self.output_weight) + self.output_bias[:, None]).transpose(0, 1)
        if self.quantiles == 1:
            return raw
        # softplus(-1.2587) = 1/4: at the start the law spreads over the reward's range, around a mean of zero.
        steps = SHAPE_GAIN * raw[..., 1:] - 1.2587
        return monotone_quantiles(raw[..., 0], steps, 4 * self.span / (self.quantiles - 1))


class LiveQuantileCritic(LearnedCritic):
    """A quantile critic with weights."""

    def __init__(
        self,
        part: QuantileCritic,
        reader: Backbone | None,
        head: QuantileHeads,
        context: CriticContext,
        layers: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__(part.body, reader, head, context, layers)
        self.part = part
        self.levels = midpoint_levels(part.quantiles)

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        quantiles, final = self.head(states), self.head(ends)
        levels = self.levels.to(quantiles)
        return ValuePrediction(
            scatter_sampled(quantiles.mean((1, 2)), batch.sampled_mask),
            batch.sampled_mask,
            bootstrap=final.mean((1, 2)),
            law=Quantiles(levels, scatter_sampled(quantiles, batch.sampled_mask)),
            bootstrap_law=Quantiles(levels, final[:, None]),
        )

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        chosen = targets.mask[batch.sampled_mask]
        quantiles = self.head(states)[chosen]
        samples, weights = target_samples(targets)
        levels = self.levels.to(quantiles)
        fast = kernels_for(quantiles)
        pairs = None if fast is None else fast.quantile_huber
        fit = quantile_huber(quantiles, levels, samples[:, None], weights[:, None], self.part.huber or None, pairs)
        fit = (fit * self.part.tail.weights(levels)).mean((1, 2)) if self.part.tail.risk else fit.mean((1, 2))
        terms = [self._term("value", fit, targets.mask, 1.0)]
        if self.part.mean:
            error = quantiles.mean(-1) - (samples * weights).sum(-1, keepdim=True)
            terms.append(self._term("value_mean", 0.5 * error.square().mean(-1), targets.mask, self.part.mean))
        if self.part.tail.active:
            ordered = self._target_quantiles(targets, samples, weights)
            penalty = self.part.tail.penalty(quantiles.mean(1), ordered)
            terms.append(self._term("value_tail", penalty, targets.mask, 1.0))
        if self.part.conservatism.weight:
            excess = optimism(quantiles, (samples * weights).sum(-1), self.part.conservatism.temperature)
            terms.append(self._term("value_conservatism", excess, targets.mask, self.part.conservatism.weight))
        if self.part.consistency and self.part.heads > 1:
            spread = head_consistency(quantiles)
            terms.append(self._term("value_consistency", spread, targets.mask, self.part.consistency))
        return tuple(terms)

    def _target_quantiles(
        self, targets: ValueTargets, samples: Float[Tensor, "C S"], weights: Float[Tensor, "C S"]
    ) -> Float[Tensor, "C K"]:
        """The target law at the critic's own levels: its samples in order, if there are as many, all alike."""
        if not isinstance(targets, Samples):
            raise TypeError(
                "tail terms compare the tails of laws, and a point has none; use target=quantile_lambda,"
                " target=lambda_mixture or target=group_quantiles, or switch the tail terms off"
            )
        if samples.shape[-1] == self.part.quantiles and bool((weights == weights[:1, :1]).all()):
            return samples.sort(-1).values
        return empirical_quantiles(samples, weights, self.levels.to(samples))

    @staticmethod
    def _term(name: str, flat: Float[Tensor, "C"], mask: Bool[Tensor, "N T"], weight: float) -> LossTerm:
        return LossTerm(name, scatter_sampled(flat, mask), mask, weight, TokenMean())
