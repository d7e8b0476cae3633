"""The tokens of each row that stand out by a number."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SLACK = 1e-9  # 0.2 * 5 is a hair under 1 in some products


def most_of_each_row(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], share: float) -> Bool[Tensor, "N T"]:
    """The floor(share * n) masked tokens of each row with the greatest values, n its masked tokens.

    Of equal values the earlier token comes first, so that the choice hangs on nothing else. Row by row, so that it
    does not hang on what else is in a batch either.
    """
    count = (mask.sum(-1) * share + SLACK).floor().long()
    ordered = values.detach().masked_fill(~mask, -torch.inf).sort(dim=-1, descending=True, stable=True).indices
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(ordered).contiguous()
    rank = torch.empty_like(ordered).scatter_(-1, ordered, places)
    return mask & (rank < count[:, None])
