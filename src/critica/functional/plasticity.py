"""Can a network still learn: units that never speak, directions that its features use, how large its weights are."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

DORMANT = 0.025  # Sokar et al.'s threshold for the share of dormant neurons


@torch.no_grad()
def dormant_share(features: Float[Tensor, "S D"], threshold: float = DORMANT) -> float:
    """Share of units whose mean |activation| is at most `threshold` times the mean over units.

    s_i = E|h_i| / (1/D sum_j E|h_j|); unit i is dormant if s_i <= threshold (Sokar et al. 2023, arXiv 2302.12902,
    definition 3.1). 1 if every unit is silent. NaN of nothing.
    """
    if not features.numel():
        return float("nan")
    scores = features.double().abs().mean(0)
    return float((scores <= threshold * scores.mean()).double().mean())


@torch.no_grad()
def effective_rank(features: Float[Tensor, "S D"]) -> float:
    """exp of the entropy of p_i = sigma_i / sum_j sigma_j, sigma the singular values (Roy & Vetterli 2007).

    Between 1 and min(S, D): 1 if all features are multiples of one direction, D if all directions are equally used.
    Taken from the products along the longer side: a matrix as wide as the shorter one. NaN if all features are zero.
    """
    wide = features.double()
    product = wide @ wide.T if wide.shape[0] < wide.shape[1] else wide.T @ wide
    values = torch.linalg.eigvalsh(product).clamp(min=0).sqrt()
    total = values.sum()
    if not total > 0:
        return float("nan")
    return float(torch.special.entr(values / total).sum().exp())


@torch.no_grad()
def weight_norm(weights: Iterable[Tensor]) -> float:
    """The L2 norm of all weights together."""
    return float(sum(float(weight.detach().double().square().sum()) for weight in weights)) ** 0.5
