"""What siblings of one prompt say together: statistics over the known outcomes of each group, in fp64."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

EPSILON = 1e-6


def group_sizes(known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
    """How many known outcomes each row's group has, at every row of the group."""
    member = _member(group_index)
    return _sum(known.long(), member).index_select(0, member)


def group_mean(
    outcome: Float[Tensor, "N"], known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]
) -> Float[Tensor, "N"]:
    """The mean of the known outcomes of each row's group; the row's own included.

    0 where the group knows nothing (`group_sizes` is 0 there): all its rows are unknown themselves, so nothing is
    compared with it.
    """
    member = _member(group_index)
    counts = _sum(known.double(), member)
    means = _sum(_clean(outcome, known), member) / counts.clamp(min=1)
    return means.index_select(0, member).to(outcome.dtype)


def group_sums(values: Float[Tensor, "N"], group_index: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """The sum of `values` over each row's group, at every row of the group."""
    member = _member(group_index)
    return _sum(values, member).index_select(0, member)


def weighted_group_mean(
    outcome: Float[Tensor, "N"], weight: Float[Tensor, "N"], known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]
) -> Float[Tensor, "N"]:
    """sum w R / sum w over the known outcomes of each row's group, the row's own included; 0 where weights sum to 0.

    Equal weights give `group_mean`.
    """
    member = _member(group_index)
    weights = _clean(weight, known)
    totals = _sum(weights, member)
    means = _sum(weights * _clean(outcome, known), member) / torch.where(totals > 0, totals, 1.0)
    return means.index_select(0, member).to(outcome.dtype)


def leave_one_out_mean(
    outcome: Float[Tensor, "N"], known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]
) -> tuple[Float[Tensor, "N"], Bool[Tensor, "N"]]:
    """The mean of the *other* known outcomes of each row's group, and where it is defined.

    Defined for the known rows of groups with two known outcomes or more; 0 elsewhere. R - leave-one-out mean is
    G / (G - 1) times R - group mean (RLOO, Ahmadian et al. 2024, arXiv 2402.14740).
    """
    member = _member(group_index)
    clean = _clean(outcome, known)
    counts = _sum(known.double(), member).index_select(0, member)
    totals = _sum(clean, member).index_select(0, member)
    defined = known & (counts >= 2)
    means = torch.where(defined, (totals - clean) / (counts - 1).clamp(min=1), torch.zeros_like(clean))
    return means.to(outcome.dtype), defined


def group_std(
    outcome: Float[Tensor, "N"], known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]
) -> Float[Tensor, "N"]:
    """Standard deviation (ddof=1) of the known outcomes of each row's group; exactly 0 where they do not vary."""
    member = _member(group_index)
    counts = _sum(known.double(), member)
    clean = _clean(outcome, known)
    means = _sum(clean, member) / counts.clamp(min=1)
    squares = torch.where(known, (clean - means.index_select(0, member)).square(), torch.zeros_like(clean))
    spread = (_sum(squares, member) / (counts - 1).clamp(min=1)).sqrt().index_select(0, member)
    same = zero_variance_groups(outcome, known, group_index)
    return torch.where(same, torch.zeros_like(spread), spread).to(outcome.dtype)


def zero_variance_groups(
    outcome: Float[Tensor, "N"], known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]
) -> Bool[Tensor, "N"]:
    """Rows whose group's known outcomes are all equal, or fewer than two: the group compares nothing."""
    member = _member(group_index)
    groups = int(member.max()) + 1 if member.numel() else 0
    infinite = torch.full((groups,), torch.inf, dtype=torch.float64, device=outcome.device)
    clean = outcome.double()
    top = (-infinite).scatter_reduce(0, member, torch.where(known, clean, -torch.inf), "amax")
    bottom = infinite.scatter_reduce(0, member, torch.where(known, clean, torch.inf), "amin")
    return (top <= bottom).index_select(0, member)


def outcome_scale(
    name: Literal["group", "batch", "mean", "none"],
    outcome: Float[Tensor, "N"],
    known: Bool[Tensor, "N"],
    group_index: Int[Tensor, "N"],
    eps: float = EPSILON,
) -> Float[Tensor, "N"]:
    """What to divide an outcome's advantage by: group std + eps (GRPO), std over the step + eps, group mean + eps
    (MaxRL), or 1 (Dr. GRPO).

    Standard deviations have ddof=1 over the known outcomes. Where they do not vary the scale is 1: such rows say
    nothing and are masked, and dividing by eps would only blow up rounding. A mean that is not above 0 gives an
    infinite scale, and so no credit. Raises ValueError for another name.
    """
    if name == "none":
        return torch.ones_like(outcome)
    if name == "mean":
        mean = group_mean(outcome, known, group_index)
        return torch.where(mean > 0, mean + eps, torch.full_like(mean, torch.inf))
    if name not in ("group", "batch"):
        raise ValueError(f"outcome_scale: {name!r} is not one of 'group', 'batch', 'mean', 'none'")
    index = group_index if name == "group" else torch.zeros_like(group_index)
    spread = group_std(outcome, known, index)
    return torch.where(spread == 0, torch.ones_like(spread), spread + eps)


def standardize(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], eps: float = EPSILON) -> Float[Tensor, "N T"]:
    """(x - mean) / (std + eps) over all masked tokens of the step (ddof=1, fp64); zero where the mask is false.

    All zeros when the masked values are all equal, or fewer than two.
    """
    chosen = values[mask].double()
    if chosen.numel() < 2 or bool((chosen == chosen[0]).all()):
        return torch.zeros_like(values)
    scaled = (values.double() - chosen.mean()) / (chosen.std(correction=1) + eps)
    return torch.where(mask, scaled, torch.zeros_like(scaled)).to(values.dtype)


def _member(group_index: Tensor) -> Tensor:
    """Group numbers 0, 1, … of the rows, whatever integers named them."""
    return torch.unique(group_index, return_inverse=True)[1]


def _clean(outcome: Tensor, known: Tensor) -> Tensor:
    """Outcomes in fp64 with zeros where unknown, so that a NaN meets no sum."""
    return torch.where(known, outcome.double(), torch.zeros((), dtype=torch.float64, device=outcome.device))


def _sum(values: Tensor, member: Tensor) -> Tensor:
    """Sums per group, added in index order."""
    groups = int(member.max()) + 1 if member.numel() else 0
    return torch.zeros(groups, dtype=values.dtype, device=values.device).index_add(0, member, values)
