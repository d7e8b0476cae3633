"""What the siblings of one prompt say about the law of the outcome, as quantiles."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.quantiles import empirical_quantiles, midpoint_levels


def sibling_quantiles(
    outcome: Float[Tensor, "N"],
    known: Bool[Tensor, "N"],
    group_index: Int[Tensor, "N"],
    count: int,
    leave_one_out: bool,
) -> tuple[Float[Tensor, "N K"], Bool[Tensor, "N"]]:
    """Each known row's `count` midpoint quantiles of its group's known outcomes, and where they are defined.

    With `leave_one_out` a row's own outcome does not count, so rows without another known sibling are undefined;
    without it every known row is defined. Undefined rows hold zeros. outcome: in units of return; anything (NaN too)
    where unknown. K = count.
    """
    voices = (group_index[:, None] == group_index[None, :]) & known[None, :]
    if leave_one_out:
        voices = voices & ~torch.eye(len(outcome), dtype=torch.bool, device=outcome.device)
    counts = voices.sum(-1)
    defined = known & (counts > 0)
    clean = outcome.where(known, 0.0).expand(len(outcome), -1)
    weights = voices.to(clean.dtype) / counts.clamp(min=1)[:, None]
    quantiles = empirical_quantiles(clean, weights, midpoint_levels(count, clean.dtype))
    return quantiles.where(defined[:, None], 0.0), defined
