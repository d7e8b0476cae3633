"""Pairs of siblings of which one was told to be better, and the loss of a score that should say so."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def sibling_comparisons(
    outcome: Float[Tensor, "N"], known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]
) -> tuple[Int[Tensor, "N S"], Float[Tensor, "N S"], Float[Tensor, "N S"]]:
    """Each row's siblings of another outcome: who they are, 1 if the row is the better one, and weights.

    Weights are equal within a row and sum to one where it has any opponent, else to zero; ties and unknown outcomes
    are no comparison. S is the largest number of siblings that any row has.
    """
    rows = outcome.shape[0]
    same = (group_index[:, None] == group_index) & known[:, None] & known
    same &= ~torch.eye(rows, dtype=torch.bool, device=same.device)
    size = int(same.sum(-1).max()) if rows else 0
    who = same.long().argsort(dim=-1, descending=True, stable=True)[:, :size]
    told = outcome.nan_to_num(0.0)
    gap = told[:, None] - told[who]
    counts = same.gather(1, who) & (gap != 0)
    weights = counts.to(outcome.dtype) / counts.sum(-1, keepdim=True).clamp(min=1)
    return who, (gap > 0).to(outcome.dtype), weights


def bradley_terry(
    score: Float[Tensor, "N"],
    opponents: Float[Tensor, "N S"],
    better: Float[Tensor, "N S"],
    weights: Float[Tensor, "N S"],
) -> Float[Tensor, "N"]:
    """sum_s w_s -log sigmoid(+-(score - opponent_s)), plus where the row is better (Bradley & Terry 1952).

    Opponents carry no gradient: a pair is seen once from either side, so that the two rows' gradients together are
    twice that of the pair's loss, and rows may be cut apart in any way.
    """
    sign = 2 * better - 1
    gaps = sign * (score[:, None] - opponents)
    return (weights * torch.nn.functional.softplus(-gaps)).sum(-1)


def order_agreement(
    score: Float[Tensor, "N"],
    opponents: Float[Tensor, "N S"],
    better: Float[Tensor, "N S"],
    weights: Float[Tensor, "N S"],
) -> tuple[float, float]:
    """(comparisons that the scores order as told, ties counting half; comparisons)."""
    counts = weights > 0
    gap = (score[:, None] - opponents) * (2 * better - 1)
    right = (gap > 0).double() + 0.5 * (gap == 0).double()
    return float(right[counts].sum()), float(counts.sum())
