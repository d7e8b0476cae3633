"""A prior and a few outcomes made one estimate, and whether the prior deserves it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def surprise(
    total: Float[Tensor, "*S"], count: Float[Tensor, "*S"], prior: Float[Tensor, "*S"], strength: float
) -> Float[Tensor, "*S"]:
    """z = |mean - p| / sd: by how many standard deviations `count` outcomes miss a prior worth `strength` outcomes.

    sd^2 = p (1 - p) (1 / n + (1 - 1 / n) / (strength + 1)), the variance of a Beta-Binomial mean; p is kept within
    [.001, .999]. 0 without outcomes. As strength grows it becomes the binomial z-test of p.
    """
    seen = count.clamp(min=1)
    p = prior.clamp(0.001, 0.999)
    variance = p * (1 - p) * (1 / seen + (1 - 1 / seen) / (strength + 1))
    return torch.where(count > 0, (total / seen - prior).abs() / variance.sqrt(), torch.zeros_like(total))


def fused_rate(
    total: Float[Tensor, "*S"],
    count: Float[Tensor, "*S"],
    prior: Float[Tensor, "*S"],
    strength: float,
    tolerance: float,
) -> tuple[Float[Tensor, "*S"], Bool[Tensor, "*S"]]:
    """(strength p + total) / (strength + count), or total / count where `surprise` exceeds `tolerance`; and where.

    A prior that the outcomes contradict is dropped. Without outcomes it is the prior. Reduces to the outcomes' mean at
    strength 0 or tolerance 0, and to the prior as strength and tolerance grow. V_0.5 (arXiv 2603.10848) fuses by a
    test of the prior's reliability; its exact weights are not known to us, this conjugate form is our choice.
    """
    rejected = (surprise(total, count, prior, strength) > tolerance) & (count > 0)
    weight = torch.where(rejected, 0.0, torch.full_like(total, strength))
    bottom = weight + count
    return torch.where(bottom > 0, (weight * prior + total) / bottom.clamp(min=1e-300), prior), rejected


def fused_spread(
    total: Float[Tensor, "*S"], count: Float[Tensor, "*S"], prior: Float[Tensor, "*S"], weight: Float[Tensor, "*S"]
) -> Float[Tensor, "*S"]:
    """Standard deviation of Beta(weight p + total + 1/2, weight (1 - p) + count - total + 1/2).

    How uncertain a rate is after `count` outcomes that sum to `total`, with a prior worth `weight` outcomes. The halves
    are Jeffreys' prior: two failures alone (weight 0) do not make a rate of 0 certain. Our choice.
    """
    up = weight * prior + total + 0.5
    down = weight * (1 - prior) + (count - total) + 0.5
    both = up + down
    return (up * down / (both.square() * (both + 1))).sqrt()


def prior_strength(missed: float, chance: float, scale: float, most: float) -> float:
    """How many outcomes a prior has proved worth: scale / (missed - chance) - 1, within [0, most].

    Over past groups of n outcomes with mean m and prior p: missed = sum (m - p)^2, chance = sum p (1 - p) / n, which a
    perfect prior misses by anyway, scale = sum p (1 - p) (1 - 1 / n). The method of moments for a Beta-Binomial.
    """
    excess = missed - chance
    if excess * (most + 1) <= scale:
        return most
    return max(0.0, scale / excess - 1.0)
