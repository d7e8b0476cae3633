"""Equal prefixes, found: a number for each token's past, the same for siblings that wrote the same tokens so far."""

import torch
from jaxtyping import Int
from torch import Tensor


def prefix_names(
    token_ids: Int[Tensor, "N T"], lengths: Int[Tensor, "N"], group_index: Int[Tensor, "N"]
) -> Int[Tensor, "N T"]:
    """names[n, t] = names[m, t] exactly if n and m are of one group and tokens_<t of both are equal.

    Two cells of different t, or past a row's end, share no name. Exact: pairs are ranked, nothing is hashed.
    """
    rows, width = token_ids.shape
    label = group_index.unique(return_inverse=True)[1]
    names = torch.empty_like(token_ids)
    span = int(token_ids.max()) + 2 if token_ids.numel() else 1
    for t in range(width):
        names[:, t] = label + t * rows
        over = torch.where(t < lengths, token_ids[:, t], span - 1)
        label = (label * span + over).unique(return_inverse=True)[1]
    places = torch.arange(rows * width, device=token_ids.device).view(rows, width)
    past = places[0] >= lengths[:, None]
    fresh = rows * width + places
    return torch.where(past, fresh, names)
