"""Can a network still learn: units that never speak, directions that its features use, how large its weights are."""

from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class LearningReading:
    """How well a network still learns: share of active units, rank of its features, error on what it never saw."""

    active: float
    rank: float
    error: float


def replay_move(
    before: LearningReading,
    now: LearningReading,
    best_rank: float,
    active_tolerance: float,
    rank_floor: float,
    error_tolerance: float,
) -> int:
    """Whether a critic can take more passes over its data (1), needs fewer (-1), or neither (0).

    Fewer: the active share fell by more than `active_tolerance`, the rank is not at least `rank_floor` x `best_rank`,
    or the error rose above (1 + `error_tolerance`) x the one before. More: none of these, the active share is steady
    within the tolerance, and the error fell. An error that is NaN on either side (nothing was told) decides nothing.
    With a rank floor of 0, and an error that always falls, it is the switch of Adaptive RR (arXiv 2310.07418).
    """
    if now.active < before.active - active_tolerance or not now.rank >= rank_floor * best_rank:
        return -1
    if now.error > before.error * (1 + error_tolerance):
        return -1
    return int(abs(now.active - before.active) <= active_tolerance and now.error < before.error)
