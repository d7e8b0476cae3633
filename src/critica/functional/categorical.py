"""Return laws on a fixed grid of atoms: how a number or a law is written there, and what is fitted to it."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def atom_grid(low: float, high: float, count: int) -> Float[Tensor, "count"]:
    """`count` atoms, evenly spaced from `low` to `high`, both ends included (C51, arXiv 1707.06887, section 4)."""
    if count < 2 or not low < high:
        raise ValueError(f"atom_grid: needs two atoms or more and low < high, got {count} over [{low}, {high}]")
    return torch.linspace(low, high, count)


def two_hot(
    values: Float[Tensor, "*B S"], weights: Float[Tensor, "*B S"], atoms: Float[Tensor, "K"]
) -> Float[Tensor, "*B K"]:
    """p_k = sum_s w_s max(0, 1 - |y_s - a_k| / spacing): each sample shared between its two neighbors.

    values: in units of return, clamped to the grid first; weights: sum to one over S; atoms: evenly spaced. This is
    C51's projection of a law onto the grid (arXiv 1707.06887, eq. 7), of which two-hot coding is the case S = 1. The
    mean survives exactly for samples inside the grid, the variance grows by at most spacing^2 / 4. With two atoms at
    0 and 1 it is the label of a Bernoulli law.
    """
    count = atoms.shape[0]
    place = ((values - atoms[0]) / (atoms[1] - atoms[0])).clamp(0, count - 1)
    left = place.floor().clamp(max=count - 2)
    share = place - left
    law = values.new_zeros((*values.shape[:-1], count))
    law = law.scatter_add(-1, left.long(), weights * (1 - share))
    return law.scatter_add(-1, left.long() + 1, weights * share)


def hl_gauss(
    values: Float[Tensor, "*B S"], weights: Float[Tensor, "*B S"], atoms: Float[Tensor, "K"], sigma: float
) -> Float[Tensor, "*B K"]:
    """p_k = sum_s w_s [Phi((e_{k+1} - y_s) / sigma) - Phi((e_k - y_s) / sigma)] / the same over all bins.

    e: edges halfway between atoms, and half a spacing beyond the outer two. sigma: in units of return. Source: Imani &
    White 2018 (arXiv 1806.04613) and Farebrother et al. 2024 (arXiv 2403.03950, section 3.1), who take 0.75 spacings.
    As sigma -> 0 the nearest atom takes all (which is two-hot for a sample on an atom). Within a spacing or two of
    either end the cut Gaussian's mean lies inside of y by a fraction of a spacing: the price of the smoothing.
    Values are clamped to the grid. One pass per sample, so memory does not grow with S.
    """
    spacing = atoms[1] - atoms[0]
    edges = torch.cat((atoms - spacing / 2, atoms[-1:] + spacing / 2))
    law = values.new_zeros((*values.shape[:-1], atoms.shape[0]))
    for sample, weight in zip(values.clamp(atoms[0], atoms[-1]).unbind(-1), weights.unbind(-1), strict=True):
        below = torch.special.erf((edges - sample.unsqueeze(-1)) / (sigma * math.sqrt(2)))
        law = law + (weight / (below[..., -1] - below[..., 0])).unsqueeze(-1) * below.diff(dim=-1)
    return law


def cross_entropy(logits: Float[Tensor, "*B K"], law: Float[Tensor, "*B K"]) -> Float[Tensor, "*B"]:
    """-sum_k p_k log softmax(logits)_k, in nats: minimal, at the entropy of p, where the softmax is p.

    With two atoms and p = (1 - y, y): the logistic loss of a coin with logit z_1 - z_0.
    """
    return -(law * logits.log_softmax(-1)).sum(-1)


def categorical_quantiles(
    atoms: Float[Tensor, "K"], probs: Float[Tensor, "*B K"], levels: Float[Tensor, "S"]
) -> Float[Tensor, "*B S"]:
    """inf { a_k : P(Z <= a_k) >= level }: the law read as a quantile function."""
    reached = probs.cumsum(-1) + 4 * atoms.shape[0] * torch.finfo(probs.dtype).eps
    asked = levels.to(reached).expand(*probs.shape[:-1], -1).contiguous()
    place = torch.searchsorted(reached.contiguous(), asked)
    return atoms.to(probs)[place.clamp(max=atoms.shape[0] - 1)]


Encoding = Callable[[Float[Tensor, "*B S"], Float[Tensor, "*B S"], Float[Tensor, "K"]], Float[Tensor, "*B K"]]
