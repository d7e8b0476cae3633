"""What the value did at each token: the value after it minus the value before it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.gather import compact, expand


def value_steps(
    values: Float[Tensor, "N T"], after_last: Float[Tensor, "N"], mask: Bool[Tensor, "N T"]
) -> Float[Tensor, "N T"]:
    """V(tokens_<=t) - V(tokens_<t) over the masked tokens of a row; the value after the last one is `after_last`.

    What stands between two masked tokens (context) belongs to the step of the first. A row's steps sum to
    after_last - V at its first masked token. Zero where the mask is false. In TEMPO (arXiv 2509.18314) these are the
    brackets: zero wherever no sibling parts ways.
    """
    dense, lengths = compact(values, mask)
    if not dense.numel():
        return torch.zeros_like(values)
    following = torch.cat((dense[:, 1:], torch.zeros_like(dense[:, :1])), 1)
    is_last = torch.arange(dense.shape[1], device=dense.device) == (lengths - 1)[:, None]
    return expand(torch.where(is_last, after_last[:, None], following) - dense, mask)


def first_values(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N"]:
    """The value before each row's first masked token; 0 for a row without one."""
    first = values.gather(1, mask.int().argmax(-1, keepdim=True))[:, 0]
    return torch.where(mask.any(-1), first, torch.zeros_like(first))


def moving_share(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> tuple[float, float]:
    """(tokens whose value is not that of the token before, tokens that have one before), over the masked tokens.

    How much of an answer a critic tells apart: 0 for a baseline that is flat along it, and for a prefix tree the
    share of tokens after which siblings parted.
    """
    dense, lengths = compact(values, mask)
    if not dense.numel():
        return 0.0, 0.0
    later = torch.arange(1, dense.shape[1], device=dense.device) < lengths[:, None]
    return float(((dense[:, 1:] != dense[:, :-1]) & later).sum()), float(later.sum())
