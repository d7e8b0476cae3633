"""Distortion risk measures: a law read as one number by weighting its quantiles anew.

rho(Z) = integral over levels u of F^-1(u) dH(u), with H a distribution function on [0, 1]: H(u) = u is the mean, a
concave H puts weight on the low quantiles and is averse to risk, a convex one seeks it. Sources: Wang 2000; Dabney et
al. 2018 (arXiv 1806.06923, section 3.1), whose sampled levels beta(u) are the inverse of H.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.quantiles import midpoint_levels

Distortion = Callable[[Float[Tensor, "*B"]], Float[Tensor, "*B"]]
NORMAL_LEVELS = 20_001  # midpoint quadrature of a standard Gaussian's quantiles, in fp64


def cvar_distortion(levels: Float[Tensor, "*B"], alpha: float) -> Float[Tensor, "*B"]:
    """H(u) = min(u / alpha, 1): the mean of the worst `alpha` of outcomes; alpha 1 is the mean."""
    return (levels / alpha).clamp(max=1)


def wang_distortion(levels: Float[Tensor, "*B"], eta: float) -> Float[Tensor, "*B"]:
    """H(u) = Phi(Phi^-1(u) - eta): eta below 0 is averse, 0 the mean. On a Gaussian: mu + eta sigma, exactly."""
    return torch.special.ndtr(torch.special.ndtri(levels) - eta)


def power_distortion(levels: Float[Tensor, "*B"], eta: float) -> Float[Tensor, "*B"]:
    """H(u) = u^(1 + eta) for eta >= 0 (seeking), 1 - (1 - u)^(1 - eta) below (averse); 0 the mean.

    For eta a whole number -n: the expected smallest of n + 1 independent draws.
    """
    return levels.pow(1 + eta) if eta >= 0 else 1 - (1 - levels).pow(1 - eta)


def cumulative_distortion(levels: Float[Tensor, "*B"], exponent: float) -> Float[Tensor, "*B"]:
    """H(u) = u^c / (u^c + (1 - u)^c)^(1/c): prospect theory's weighting (Tversky & Kahneman 1992, eq. 6).

    c below 1 gives both extremes more weight than their probability; 1 is the mean; c = .71 fits people's choices. IQN
    applies the same formula to the sampled level itself, which is the inverse and gives the extremes *less* weight.
    """
    up, down = levels.pow(exponent), (1 - levels).pow(exponent)
    return up / (up + down).pow(1 / exponent)


def distorted_quantiles(
    levels: Float[Tensor, "K"], quantiles: Float[Tensor, "*B K"], distortion: Distortion
) -> Float[Tensor, "*B"]:
    """sum_k q_k [H(e_{k+1}) - H(e_k)], e the borders halfway between levels (0 and 1 outside): q ascending along K.

    At midpoint levels the borders are k / K, so that H(u) = u gives the plain mean over K.
    """
    borders = torch.cat((levels.new_zeros(1), (levels[1:] + levels[:-1]) / 2, levels.new_ones(1)))
    return quantiles @ distortion(borders.double()).diff().to(quantiles)


def distorted_categorical(
    atoms: Float[Tensor, "K"], probs: Float[Tensor, "*B K"], distortion: Distortion
) -> Float[Tensor, "*B"]:
    """sum_k a_k [H(F_k) - H(F_{k-1})], F the distribution function: atoms ascending, probabilities summing to one."""
    reached = torch.cat((torch.zeros_like(probs[..., :1]), probs.cumsum(-1)), -1).double().clamp(0, 1)
    reached[..., -1] = 1
    return (distortion(reached).diff(dim=-1).to(probs) * atoms.to(probs)).sum(-1)


def distorted_normal(distortion: Distortion) -> float:
    """rho of a standard Gaussian by midpoint quadrature: rho of N(mu, sigma) is mu + sigma times it."""
    levels = midpoint_levels(NORMAL_LEVELS, torch.float64)
    return float(distorted_quantiles(levels, torch.special.ndtri(levels), distortion))
