"""Targets for log-ratios: how much more likely a step should be than under the reference."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def log_partition(
    tilt: Float[Tensor, "C"], log_weight: Float[Tensor, "C"], state: Int[Tensor, "C"], fewest: int = 2
) -> Float[Tensor, "C"]:
    """log Z = log (sum w exp(tilt) / sum w) over those that share a state, if at least `fewest` do; 0 elsewhere.

    With tilt = A / beta of actions drawn from pi and w = pi_ref / pi it estimates log E_{a ~ pi_ref} exp(A / beta), so
    that pi_ref exp(tilt - log Z) sums to one. From few draws it is too small in the mean (Jensen).
    """
    _, place, count = state.unique(return_inverse=True, return_counts=True)
    zeros = tilt.new_zeros(len(count))
    scale = zeros.new_full((len(count),), -torch.inf).scatter_reduce(0, place, log_weight, "amax")
    weight = (log_weight - scale[place]).exp()
    highest = zeros.new_full((len(count),), -torch.inf).scatter_reduce(0, place, tilt, "amax")
    total = zeros.index_add(0, place, weight * (tilt - highest[place]).exp())
    found = highest + (total / zeros.index_add(0, place, weight)).log()
    return torch.where(count >= fewest, found, 0.0)[place]
