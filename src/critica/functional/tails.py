"""DVPO's terms on the two tails of a return law, each per state, with what its released form got wrong put right.

DVPO: arXiv 2512.03847, eqs. 4-10. Where we differ from the code that circulates: risk weights multiply the loss before
it is reduced and may point either way; tails are taken from quantiles in order (monotone by construction, or sorted
by the caller); a one-element tail has no shape instead of a NaN; consistency is a mean over pairs and quantiles, so
its size depends on neither M nor K. Targets must be laws: a scalar target copied to all K slots drives every tail
term to the mean (`quantile_gae` with decay < 1, or a group's empirical quantiles, are laws). Curvature is
misspecified for outcomes of two values, whose quantile function is a step. Targets are detached by the caller.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Side = Literal["lower", "upper"]


def risk_weights(levels: Float[Tensor, "K"], gamma: float, toward: Side) -> Float[Tensor, "K"]:
    """exp(-gamma level) toward the lower quantiles, exp(-gamma (1 - level)) toward the upper, scaled to mean 1.

    gamma 0 gives ones. Eq. 4; the paper's words ask for the lower quantiles, its circulating formula weights the
    upper ones.
    """
    raw = torch.exp(-gamma * (levels if _side(toward) == "lower" else 1 - levels))
    return raw / raw.mean()


def tail_mean_gap(
    quantiles: Float[Tensor, "*B K"], target_quantiles: Float[Tensor, "*B K"], fraction: float, side: Side
) -> Float[Tensor, "*B"]:
    """(mean of the tail of q - mean of the tail of y)^2 over the outer max(1, floor(fraction K)) quantiles.

    Lower: the gap of conditional values at risk (eq. 5). Upper: the gain (eq. 6).
    """
    return (tail(quantiles, fraction, side).mean(-1) - tail(target_quantiles, fraction, side).mean(-1)).square()


def mean_shift(quantiles: Float[Tensor, "*B K"], target_quantiles: Float[Tensor, "*B K"]) -> Float[Tensor, "*B"]:
    """relu(mean y - mean q): only a critic below its target pays (eq. 7)."""
    return torch.relu(target_quantiles.mean(-1) - quantiles.mean(-1))


def tail_shape(
    quantiles: Float[Tensor, "*B K"],
    target_quantiles: Float[Tensor, "*B K"],
    lower_fraction: float,
    upper_fraction: float,
) -> Float[Tensor, "*B"]:
    """relu(var q_low - var y_low) + relu(var y_high - var q_high): contract the lower tail, widen the upper (eq. 8).

    Population variances over a tail's quantiles: a tail of one element has variance 0 and no gradient.
    """
    low, target_low = (
        tail(law, lower_fraction, "lower").var(-1, correction=0) for law in (quantiles, target_quantiles)
    )
    high, target_high = (
        tail(law, upper_fraction, "upper").var(-1, correction=0) for law in (quantiles, target_quantiles)
    )
    return torch.relu(low - target_low) + torch.relu(target_high - high)


def tail_curvature(
    quantiles: Float[Tensor, "*B K"], lower_fraction: float, upper_fraction: float
) -> Float[Tensor, "*B"]:
    """relu(mean c_low) + relu(-mean c_high), c_j = q_{j+1} - 2 q_j + q_{j-1} inside a tail: concave low, convex high.

    A tail of fewer than three quantiles has no curvature and adds 0 (eq. 9).
    """
    total = torch.zeros_like(quantiles[..., 0])
    for part in (tail(quantiles, lower_fraction, "lower"), -tail(quantiles, upper_fraction, "upper")):
        if part.shape[-1] >= 3:
            total = total + torch.relu(part.diff(n=2, dim=-1).mean(-1))
    return total


def optimism(
    quantiles: Float[Tensor, "*B M K"], target_mean: Float[Tensor, "*B"], temperature: float
) -> Float[Tensor, "*B"]:
    """relu(soft max over heads and quantiles of q - mean y), soft max = T log mean_{m,k} exp(q_mk / T).

    A conservatism in the manner of CQL (Kumar et al. 2020, arXiv 2006.04779, eq. 4), adapted by us. CQL pushes down
    the log-sum-exp of Q over all actions and holds up the action in the data. A state value has no actions; what it
    has are returns that some head at some quantile holds possible, and the return in the data. So the soft largest of
    the possible is pushed down, upper quantiles and boastful heads the most, until it no longer exceeds what was
    seen; where it does not, nothing is pushed: a certain, right prediction costs nothing. T in units of return: large,
    it is relu(mean q - mean y), the mirror of eq. 7; small, relu(max q - mean y). Gradient flows to `quantiles` only.
    """
    flat = quantiles.flatten(-2)
    soft = temperature * (torch.logsumexp(flat / temperature, -1) - math.log(flat.shape[-1]))
    return torch.relu(soft - target_mean.detach())


def head_consistency(quantiles: Float[Tensor, "*B M K"]) -> Float[Tensor, "*B"]:
    """Mean over the pairs of M heads and over K of (q_n - q_m)^2; 0 for one head (eq. 10).

    Computed as twice the heads' sample variance, which it equals (spelled out: `Tensor.var` over a middle dimension
    takes twenty times as long).
    """
    heads = quantiles.shape[-2]
    if heads == 1:
        return torch.zeros_like(quantiles[..., 0, 0])
    from_first = quantiles - quantiles[..., :1, :]  # equal heads differ by exactly 0
    spread = from_first - from_first.mean(-2, keepdim=True)
    return 2 / (heads - 1) * spread.square().sum(-2).mean(-1)


def tail(quantiles: Float[Tensor, "*B K"], fraction: float, side: Side) -> Float[Tensor, "*B k"]:
    """The outer max(1, floor(fraction K)) quantiles of a side, in order."""
    if not 0 < fraction <= 0.5:
        raise ValueError(f"a tail's fraction must lie in (0, 0.5], got {fraction}")
    count = max(1, math.floor(fraction * quantiles.shape[-1] + 1e-9))
    return quantiles[..., :count] if _side(side) == "lower" else quantiles[..., -count:]


def _side(side: str) -> str:
    if side not in ("lower", "upper"):
        raise ValueError(f"a tail is 'lower' or 'upper', not {side!r}")
    return side
