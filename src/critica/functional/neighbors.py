"""States that resemble each other: smoothed hidden states, distances between prefixes, and what the nearest earned."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.recursion import discounted_suffix_sums


def smoothed(states: Float[Tensor, "N L D"], keep: float) -> Float[Tensor, "N L D"]:
    """e_k = keep e_(k-1) + (1 - keep) h_k from e_(-1) = 0, divided by 1 - keep^(k+1): a weighted mean of h_0 … h_k.

    Whatever follows a row's end leaves what is before it alone. `keep` 0 gives the states back. Source: Hista
    (arXiv 2605.29782), whose released code starts at e_0 = h_0 and divides all the same, so that the first vectors
    come out up to 1 / (1 - keep) times too long. Raises ValueError for keep outside [0, 1).
    """
    if not 0 <= keep < 1:
        raise ValueError(f"smoothed: keep must lie in [0, 1), got {keep}")
    sums = discounted_suffix_sums(states.flip(1), keep).flip(1)
    weights = keep ** torch.arange(1, states.shape[1] + 1, dtype=torch.float64, device=states.device)
    return sums * ((1 - keep) / (1 - weights)).to(states.dtype)[:, None]


def prefix_distances(
    first: Float[Tensor, "P R D"],
    second: Float[Tensor, "Q S D"],
    first_ends: Int[Tensor, "P n"],
    second_ends: Int[Tensor, "Q m"],
) -> Float[Tensor, "P n Q m"]:
    """MinDistance between every prefix of `first` and every prefix of `second`, prefixes being given by their lengths.

    For A (a vectors) and B (b vectors): if a >= b the mean over A's vectors of the distance to B's nearest one, else
    the mean over B's vectors of the distance to A's nearest. All prefix pairs come from one table of distances by
    running minima and running sums. Zero for identical prefixes; vectors repeated in the shorter one change nothing;
    symmetric when the lengths differ, and the mean over the *first* argument when they are equal. Lengths are at least
    1; what lies after them is never looked at. Source: Hista (arXiv 2605.29782), section 5; the released mean, not
    the paper's sum. Distances are taken directly, not through squares, so that equal vectors are exactly 0 apart.
    """
    rows, columns = first.shape[:2], second.shape[:2]
    flat = torch.cdist(first.flatten(0, 1), second.flatten(0, 1), compute_mode="donot_use_mm_for_euclid_dist")
    table = flat.reshape(*rows, *columns)  # [P R Q S]
    to_second = _running_sum(table.cummin(3).values, 1, first_ends)  # [P n Q S]: sum over A of min over prefixes of B
    to_second = _at(to_second, second_ends)
    to_first = _at(table.cummin(1).values.cumsum(3), second_ends)  # [P R Q m]: sum over B of min over prefixes of A
    to_first = to_first.gather(1, (first_ends - 1)[:, :, None, None].expand(-1, -1, *to_first.shape[2:]))
    length_first, length_second = first_ends[:, :, None, None], second_ends[None, None]
    return torch.where(length_first >= length_second, to_second / length_first, to_first / length_second)


def neighbor_values(
    distances: Float[Tensor, "n m"],
    allowed: Bool[Tensor, "n m"],
    outcome: Float[Tensor, "m"],
    counts: Int[Tensor, "n"],
    floor: float,
    power: float,
) -> tuple[Float[Tensor, "n"], Int[Tensor, "n"]]:
    """Sum w r / sum w over the `counts[i]` nearest allowed nodes of node i, w = 1 / max(distance, floor)^power.

    Every node exactly as far as the last of them counts too, so that the order of nodes is of no matter. Returns the
    values (0 without an allowed node) and how many nodes stand behind each. `floor` keeps the weight of a node at
    distance 0 finite. With a huge floor and all nodes allowed and counted it is their plain mean. Source: Hista
    (arXiv 2605.29782), whose code picks among the floored distances, ties as they come.
    """
    if not floor > 0:
        raise ValueError(f"neighbor_values: floor must be above 0, got {floor}")
    far = distances.where(allowed, torch.inf)
    available = allowed.sum(-1)
    last = torch.minimum(counts, available).clamp(min=1) - 1
    limit = far.sort(-1).values.gather(1, last[:, None])
    chosen = allowed & (far <= limit)
    weights = (1 / distances.clamp(min=floor) ** power).where(chosen, 0.0)
    total = weights.sum(-1)
    values = (weights * outcome).sum(-1) / total.where(total > 0, 1.0)
    return values, chosen.sum(-1)


def neighbor_counts(position: Int[Tensor, "*n"], nodes: Int[Tensor, "*n"], most: int, fewest: int) -> Int[Tensor, "*n"]:
    """k = most - position floor((most - fewest) / nodes), at least 1: the later a node, the fewer count (Hista)."""
    return (most - position * ((most - fewest) // nodes.clamp(min=1))).clamp(min=1)


def typical_distance(distances: Float[Tensor, "n m"], between: Bool[Tensor, "n m"]) -> Float[Tensor, ""]:
    """The median of the chosen distances that are above 0; 1 if there are none. It makes distances free of scale."""
    chosen = distances[between & (distances > 0)]
    return chosen.median() if chosen.numel() else distances.new_ones(())


def _running_sum(values: Float[Tensor, "P R Q S"], axis: int, ends: Int[Tensor, "P n"]) -> Float[Tensor, "P n Q S"]:
    """Sums over the first `ends` entries of axis 1."""
    sums = values.cumsum(axis)
    return sums.gather(1, (ends - 1)[:, :, None, None].expand(-1, -1, *sums.shape[2:]))


def _at(values: Float[Tensor, "P n Q S"], ends: Int[Tensor, "Q m"]) -> Float[Tensor, "P n Q m"]:
    """The entries at `ends` - 1 of the last axis."""
    index = (ends - 1)[None, None].expand(*values.shape[:2], *ends.shape)
    return values.gather(3, index)
