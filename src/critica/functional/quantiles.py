"""Return laws as quantiles: how to fit them, keep them in order, read them, and compare them."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from critica.functional.tails import (
    head_consistency,
    mean_shift,
    risk_weights,
    tail_curvature,
    tail_mean_gap,
    tail_shape,
)

__all__ = [
    "empirical_quantiles",
    "head_consistency",
    "mean_shift",
    "midpoint_levels",
    "monotone_quantiles",
    "quantile_at",
    "quantile_huber",
    "risk_weights",
    "tail_curvature",
    "tail_mean_gap",
    "tail_shape",
    "wasserstein1",
]

CHUNK = 1 << 15  # entries of [states S K] held at a time: they stay in cache


def midpoint_levels(
    count: int, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Float[Tensor, "count"]:
    """(j - 1/2) / K for j = 1..K. The mean of quantiles at these levels is the mean of the law, to second order.

    j / K would include level 1, whose loss never pulls down: that quantile drifts upward without end.
    """
    return (torch.arange(count, dtype=dtype or torch.get_default_dtype(), device=device) + 0.5) / count


def quantile_huber(
    quantiles: Float[Tensor, "*#B K"],
    levels: Float[Tensor, "K"],
    targets: Float[Tensor, "*#B S"],
    weights: Float[Tensor, "*#B S"],
    delta: float | None,
    pairs: "Pairs | None" = None,
) -> Float[Tensor, "*B K"]:
    """loss_k = sum_s w_s |level_k - 1[u < 0]| H(u), u = y_s - q_k; not reduced over K.

    `delta` None: H(u) = |u| (pinball), minimized exactly by the quantiles of the targets. `delta` a number: Huber,
    H(u) = u^2 / 2 for |u| <= delta, delta (|u| - delta / 2) beyond (Dabney et al. 2018, arXiv 1710.10044, eq. 10).
    Where every error is inside delta the minimizers are *expectiles*, whose mean over levels is not the mean of the
    law: with outcomes in {0, 1} and delta 1, Bernoulli(0.3) is read as 0.36. Keep delta well below the outcomes' gap.

    With K = 1, level 1/2 and delta large: a quarter of the squared error, so half of the gradient of (u^2) / 2.
    Gradient flows to `quantiles` only, is worked out in the forward pass, and is 0 at u = 0. Memory is that of
    [*B K] and one chunk, whatever S; a single target (S = 1) costs a few passes over [*B K]. Leading axes broadcast.
    `pairs` (for quantiles [R M K] and targets [R 1 S]) works out loss and slope in place of this file.
    """
    if delta is not None and not delta > 0:
        raise ValueError(f"quantile_huber: delta must be above 0, or None for the pinball loss; got {delta}")
    leading = torch.broadcast_shapes(quantiles.shape[:-1], targets.shape[:-1], weights.shape[:-1])
    if pairs is not None and quantiles.dim() == 3 and targets.shape[-1] > 1:
        ys, ws = (part.detach().expand(len(quantiles), 1, -1)[:, 0].contiguous() for part in (targets, weights))
        loss, slope = pairs(quantiles.detach().contiguous(), levels.to(quantiles.dtype), ys, ws, delta)
        return _Given.apply(quantiles, loss, slope)
    wide = [part.expand(*leading, part.shape[-1]) for part in (quantiles, targets, weights)]
    return _QuantileHuber.apply(wide[0], levels.to(quantiles.dtype), wide[1].detach(), wide[2].detach(), delta)


Pairs = Callable[[Tensor, Tensor, Tensor, Tensor, "float | None"], tuple[Tensor, Tensor]]


class _Given(torch.autograd.Function):
    """A loss whose slope is known."""

    @staticmethod
    def forward(ctx: Any, quantiles: Tensor, loss: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_loss: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return for_loss * slope, None, None


class _QuantileHuber(torch.autograd.Function):
    """The loss and its slope d loss_k / d q_k together, so that nothing of size K x S outlives the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, quantiles: Tensor, levels: Tensor, targets: Tensor, weights: Tensor, delta: float | None
    ) -> Tensor:
        if targets.shape[-1] == 1:
            loss, slope = _pair(targets - quantiles, levels, delta)
            loss, slope = loss.mul_(weights), slope.mul_(-weights)
        else:
            count, samples = quantiles.shape[-1], targets.shape[-1]
            rows = max(1, CHUNK // max(1, count * samples))
            flat = [part.reshape(-1, part.shape[-1]).split(rows) for part in (quantiles, targets, weights)]
            parts = [_weighted_pair(q, y, w, levels, delta) for q, y, w in zip(*flat, strict=True)]
            loss = torch.cat([part[0] for part in parts]).reshape(quantiles.shape)
            slope = torch.cat([part[1] for part in parts]).reshape(quantiles.shape)
        ctx.save_for_backward(slope)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_loss: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return for_loss * slope, None, None, None, None


def _weighted_pair(
    quantiles: Tensor, targets: Tensor, weights: Tensor, levels: Tensor, delta: float | None
) -> tuple[Tensor, Tensor]:
    """Loss and d loss / d q for a chunk of rows, summed over the samples."""
    loss, slope = _pair(targets.unsqueeze(-1) - quantiles.unsqueeze(-2), levels, delta)
    weight = weights.unsqueeze(-2)
    return (weight @ loss).squeeze(-2), -(weight @ slope).squeeze(-2)


def _pair(error: Tensor, levels: Tensor, delta: float | None) -> tuple[Tensor, Tensor]:
    """|level - 1[u < 0]| H(u) and its derivative in u, with K last; `error` is overwritten."""
    tilt = torch.where(error < 0, 1 - levels, levels)
    if delta is None:
        slope = tilt.mul_(error.sign())
        return error.mul_(slope), slope
    clipped = error.clamp(-delta, delta)
    slope = tilt.mul_(clipped)
    return error.sub_(clipped, alpha=0.5).mul_(slope), slope


def monotone_quantiles(
    mean: Float[Tensor, "*B"], increments_raw: Float[Tensor, "*B J"], scale: float
) -> Float[Tensor, "*B J+1"]:
    """K = J + 1 quantiles that never decrease, and whose mean over K is `mean`: steps of scale x softplus(raw).

    q_k = mean + c_k - mean(c), c_k the sum of the first k steps. The mean and the shape are read from different
    numbers, so a tail term cannot move the mean through the shape.
    """
    steps = scale * softplus(increments_raw)
    offsets = torch.cat((torch.zeros_like(mean).unsqueeze(-1), steps.cumsum(-1)), -1)
    return mean.unsqueeze(-1) + (offsets - offsets.mean(-1, keepdim=True))


def quantile_at(
    levels: Float[Tensor, "K"], values: Float[Tensor, "*B K"], probs: Float[Tensor, "P"]
) -> Float[Tensor, "*B P"]:
    """The quantile function read at `probs`: linear between levels, constant beyond the first and the last."""
    if levels.shape[0] == 1:
        return values.expand(*values.shape[:-1], probs.shape[0])
    asked = probs.to(levels.dtype).clamp(float(levels[0]), float(levels[-1]))
    right = torch.searchsorted(levels, asked).clamp(1, levels.shape[0] - 1)
    share = ((asked - levels[right - 1]) / (levels[right] - levels[right - 1])).to(values.dtype)
    return values[..., right - 1] * (1 - share) + values[..., right] * share


def empirical_quantiles(
    samples: Float[Tensor, "*B S"], weights: Float[Tensor, "*B S"], levels: Float[Tensor, "K"]
) -> Float[Tensor, "*B K"]:
    """inf { y : P(Y <= y) >= level } for weighted samples, weights summing to one over S."""
    ordered, order = samples.sort(-1)
    reached = weights.gather(-1, order).cumsum(-1)
    # A level met up to rounding counts as met, else 10 samples of weight 0.1 would miss their own deciles.
    slack = 4 * samples.shape[-1] * torch.finfo(reached.dtype).eps
    asked = levels.to(reached.dtype).expand(*samples.shape[:-1], -1).contiguous()
    place = torch.searchsorted((reached + slack).contiguous(), asked)
    return ordered.gather(-1, place.clamp(max=samples.shape[-1] - 1))


def wasserstein1(
    first: Float[Tensor, "*B S"],
    second: Float[Tensor, "*B R"],
    first_weights: Float[Tensor, "*B S"] | None = None,
    second_weights: Float[Tensor, "*B R"] | None = None,
) -> Float[Tensor, "*B"]:
    """W1 = integral |F - G| between two laws given as weighted samples; without weights all samples count alike.

    Quantiles at midpoint levels are samples of equal weight: for S = R sorted, the mean of |first - second|.
    """
    weights = (
        torch.full_like(first, 1 / first.shape[-1]) if first_weights is None else first_weights,
        torch.full_like(second, 1 / second.shape[-1]) if second_weights is None else second_weights,
    )
    points, order = torch.cat((first, second), -1).sort(-1)
    gap = torch.cat((weights[0], -weights[1]), -1).gather(-1, order).cumsum(-1)
    return (gap[..., :-1].abs() * points.diff(dim=-1)).sum(-1)
