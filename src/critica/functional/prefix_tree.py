"""A group of answers as a tree of prefixes: what those who share a prefix were told."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def prefix_sums(
    token_ids: Int[Tensor, "N T"],
    lengths: Int[Tensor, "N"],
    group_index: Int[Tensor, "N"],
    outcome: Float[Tensor, "N"],
    known: Bool[Tensor, "N"],
) -> tuple[Float[Tensor, "N T+1"], Float[Tensor, "N T+1"]]:
    """(sum, count) of the known outcomes of all group members whose first t tokens are row n's, at [n, t], fp64.

    A member that ended before t tokens shares no prefix of t tokens. Beyond a row's own length the cells are zero.
    Tokens are compared exactly. Only rows that still share their prefix with another are looked at again, so the work
    is linear in the tokens that are shared, plus one pass over the grid. TEMPO's V(prefix) is sum / count
    (arXiv 2509.18314); at t = 0 it is the group mean.
    """
    rows, width = token_ids.shape
    device = token_ids.device
    tokens, ends = token_ids.cpu().numpy(), lengths.cpu().numpy()
    fine = known.cpu().numpy()
    value = np.where(fine, outcome.double().cpu().numpy(), 0.0)
    alone_sum, alone_count = value, fine.astype(np.float64)
    reached = np.arange(width + 1) <= ends[:, None]
    sums, counts = alone_sum[:, None] * reached, alone_count[:, None] * reached
    active = np.arange(rows)
    label = np.unique(group_index.cpu().numpy(), return_inverse=True)[1]
    for depth in range(width + 1):
        if depth:
            active, label = active[ends[active] >= depth], label[ends[active] >= depth]
            pair = label * (int(tokens.max()) + 1) + tokens[active, depth - 1]
            label = np.unique(pair, return_inverse=True)[1]
        size = np.bincount(label, minlength=1)
        shared = size[label] > 1
        active, label = active[shared], label[shared]
        if not len(active):
            break
        sums[active, depth] = np.bincount(label, weights=value[active])[label]
        counts[active, depth] = np.bincount(label, weights=alone_count[active])[label]
    return torch.from_numpy(sums).to(device), torch.from_numpy(counts).to(device)


def prefix_values(
    sums: Float[Tensor, "N P"],
    counts: Float[Tensor, "N P"],
    own: Float[Tensor, "N"],
    known: Bool[Tensor, "N"],
    shrinkage: float = 0.0,
    leave_one_out: bool = False,
) -> tuple[Float[Tensor, "N P"], Float[Tensor, "N P"]]:
    """V = (sum + k root) / (count + k) at each prefix, k = `shrinkage`, root the mean at t = 0; and the counts.

    `own` are the rows' outcomes, taken out of sum, count and root if `leave_one_out`. Where nobody is left to count
    the value of the last prefix that had somebody stays: a prefix that no other shares adds no news. Rows without
    anybody at the root are 0 with count 0. At shrinkage 0 it is TEMPO's mean; as it grows, the group mean everywhere.
    """
    if shrinkage < 0:
        raise ValueError(f"prefix_values: shrinkage is a number of outcomes, {shrinkage} is negative")
    if leave_one_out:
        self_count = known.double()[:, None] * (counts > 0)
        sums, counts = sums - own.double().where(known, 0.0)[:, None] * self_count, counts - self_count
    root = torch.where(counts[:, :1] > 0, sums[:, :1] / counts[:, :1].clamp(min=1), 0.0)
    mean = (sums + shrinkage * root) / (counts + shrinkage).clamp(min=1e-300)
    place = torch.arange(sums.shape[1], device=sums.device)
    last = torch.where(counts > 0, place, 0).cummax(-1).values
    held = torch.where(counts > 0, mean, 0.0).gather(1, last)
    return (mean if shrinkage else held), counts
