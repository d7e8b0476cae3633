"""Distributionally robust weights: the mix of units (prompts, slices) nearby under which a loss is worst.

Units have losses l_u and base shares p_u; a loss is sum_u q_u l_u, where plain averaging has q = p. Weights are
constants to the gradient: by Danskin's theorem the gradient of max_q sum_u q_u l_u is that at the best q.

Source: Distributionally Robust RLHF (arXiv 2503.00539; its divergence, radius and numbers are not public to us), group
DRO (Sagawa et al. 2020, arXiv 1911.08731, algorithm 1), KL balls (Hu & Hong 2013). When to use: shares of the training
prompts will not be those of use. When not: labels are noisy. Robust weights go where losses are high, and wrong labels
have high losses; then weigh whole slices, never single pairs, and keep the radius small.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEAR = 1e-9


def unit_losses(losses: Float[Tensor, "P"], unit: Int[Tensor, "P"]) -> tuple[Float[Tensor, "U"], Float[Tensor, "U"]]:
    """(mean loss, share of the pairs) of each unit that occurs, in the order of their numbers."""
    _, place, counts = unit.unique(return_inverse=True, return_counts=True)
    sums = losses.new_zeros(counts.numel()).scatter_add(0, place, losses)
    return sums / counts, counts.to(losses.dtype) / losses.numel()


def kl_ball_weights(losses: Float[Tensor, "U"], base: Float[Tensor, "U"], radius: float) -> Float[Tensor, "U"]:
    """argmax_q sum_u q_u l_u with KL(q || p) <= radius: q_u proportional to p_u exp(l_u / tau), tau by bisection.

    Radius 0 gives p exactly. From -log(the base share of the worst units) on, all weight is theirs. Raises ValueError
    for a negative radius.
    """
    if radius < 0:
        raise ValueError(f"the radius of a ball cannot be negative, got {radius}")
    values, shares = losses.detach().double(), base.detach().double()
    shares = shares / shares.sum()
    spread = float(values.max() - values.min()) if values.numel() else 0.0
    if radius == 0 or spread < NEAR:
        return shares.to(losses.dtype)
    worst = values == values.max()
    if radius >= -math.log(float(shares[worst].sum())):
        return torch.where(worst, shares / shares[worst].sum(), 0.0).to(losses.dtype)

    low, high = 0.0, 1.0 / spread
    while divergence(_tilted(values, shares, high), shares) < radius:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if divergence(_tilted(values, shares, middle), shares) < radius else (low, middle)
    return _tilted(values, shares, low).to(losses.dtype)


def divergence(q: Float[Tensor, "U"], p: Float[Tensor, "U"]) -> float:
    """KL(q || p) = sum_u q_u log(q_u / p_u), in nats."""
    return float(torch.where(q > 0, q * (q / p).log(), 0.0).sum())


def _tilted(values: Tensor, shares: Tensor, heat: float) -> Tensor:
    return _tilted_by((values - values.max()) * heat, shares)


def _tilted_by(exponents: Tensor, shares: Tensor) -> Tensor:
    return (exponents + shares.log()).softmax(0)


def tv_ball_weights(losses: Float[Tensor, "U"], base: Float[Tensor, "U"], radius: float) -> Float[Tensor, "U"]:
    """argmax_q sum_u q_u l_u with half of sum_u |q_u - p_u| <= radius: mass moves from the least losses to the worst.

    This is also the ball of the Wasserstein distance between units that are all 1 apart. Radius 0 gives p, radius 1
    all weight to the worst unit. Raises ValueError for a radius outside of [0, 1].
    """
    if not 0 <= radius <= 1:
        raise ValueError(f"the radius of a total-variation ball lies in [0, 1], got {radius}")
    shares = base.detach().double()
    shares = shares / shares.sum()
    order = losses.detach().argsort(stable=True)
    worst = order[-1]
    taken = shares[order[:-1]]
    before = taken.cumsum(0) - taken
    moved = torch.minimum(taken, (radius - before).clamp(min=0))
    shares[order[:-1]] = taken - moved
    shares[worst] += moved.sum()
    return shares.to(losses.dtype)


def chi2_ball_weights(losses: Float[Tensor, "U"], base: Float[Tensor, "U"], radius: float) -> Float[Tensor, "U"]:
    """argmax_q sum_u q_u l_u with sum_u (q_u - p_u)^2 / p_u <= radius: q_u proportional to p_u max(0, l_u - nu).

    nu by bisection. While no unit is dropped the worst case is mean + sqrt(radius * variance): a price on spread
    (Duchi & Namkoong 2019, arXiv 1810.08750). Radius 0 gives p; from 1 / (the worst units' share) - 1 on all weight is
    theirs. Raises ValueError for a negative radius.
    """
    if radius < 0:
        raise ValueError(f"the radius of a ball cannot be negative, got {radius}")
    values, shares = losses.detach().double(), base.detach().double()
    shares = shares / shares.sum()
    if radius == 0 or not values.numel() or float(values.max() - values.min()) < NEAR:
        return shares.to(losses.dtype)
    worst = values == values.max()
    if radius >= 1 / float(shares[worst].sum()) - 1:
        return torch.where(worst, shares / shares[worst].sum(), 0.0).to(losses.dtype)

    def above(floor: Tensor) -> Tensor:
        mass = shares * (values - floor).clamp(min=0)
        return mass / mass.sum()

    mean = (shares * values).sum()
    low = mean - ((shares * (values - mean).square()).sum() / radius).sqrt()
    if low > values.min():
        low, high = values.min(), values.max()
        for _ in range(100):
            middle = (low + high) / 2
            near = ((above(middle) - shares).square() / shares).sum() < radius
            low, high = (middle, high) if near else (low, middle)
    return above(low).to(losses.dtype)


def tail_weights(losses: Float[Tensor, "U"], base: Float[Tensor, "U"], share: float) -> Float[Tensor, "U"]:
    """All weight on the worst `share` of the mass: argmax_q with q_u <= p_u / share, whose value is CVaR.

    Share 1 gives p. Raises ValueError for a share outside of (0, 1]. (Rockafellar & Uryasev 2000.)
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of a tail lies in (0, 1], got {share}")
    shares = base.detach().double()
    shares = shares / shares.sum()
    order = losses.detach().argsort(stable=True, descending=True)
    most = shares[order] / share
    before = most.cumsum(0) - most
    found = torch.zeros_like(shares)
    found[order] = torch.minimum(most, (1 - before).clamp(min=0))
    return found.to(losses.dtype)


def tilted_weights(losses: Float[Tensor, "U"], base: Float[Tensor, "U"], temperature: float) -> Float[Tensor, "U"]:
    """q_u proportional to p_u exp(l_u / temperature): the argmax of sum_u q_u l_u - temperature KL(q || p).

    Below 0 it is the argmin with that price, which leans on units that lose little. At +-inf it is p. Raises
    ValueError at 0.
    """
    if temperature == 0:
        raise ValueError("the temperature of a tilt cannot be 0: take the best or worst unit instead")
    shares = base.detach().double()
    return _tilted_by(losses.detach().double() / temperature, shares / shares.sum()).to(losses.dtype)


def group_dro_step(
    weights: Float[Tensor, "G"], losses: Float[Tensor, "G"], present: Float[Tensor, "G"], rate: float
) -> Float[Tensor, "G"]:
    """q_g proportional to q_g exp(rate l_g), for slices that occur in this batch (`present` 1, else 0); sums to 1.

    Rate 0 leaves q as it is. Source: Sagawa et al. 2020, algorithm 1 (exponentiated gradient ascent).
    """
    raised = weights.double().log() + rate * losses.detach().double() * present.double()
    return raised.softmax(0).to(weights.dtype)
