"""How sure the writer was, as a few numbers a state: what it takes to see a slip without reading the text."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.gather import compact, expand

SURPRISE_COLUMNS = 7  # how many numbers `surprise_columns` gives


def surprise_columns(
    surprise: Float[Tensor, "N T"],
    entropy: Float[Tensor, "N T"],
    final_entropy: Float[Tensor, "N"],
    sampled_mask: Bool[Tensor, "N T"],
) -> tuple[Float[Tensor, "S 7"], Float[Tensor, "N 7"]]:
    """The state before each sampled token and after the last one, as the writer's own uncertainty so far.

    `surprise` is -log pi(token) and `entropy` that of the distribution which it was drawn from, in nats;
    `final_entropy` is that of the distribution after the last token. Columns: the last surprise, log(1 + their sum),
    the largest; the entropy here, log(1 + the sum of those before); log(1 + tokens written), and the mean surprise.
    Before token t only tokens before t count, and the entropy at t, which is known before t is drawn: a value made of
    these is a baseline like any other.
    """
    told, lengths = compact(surprise[..., None], sampled_mask)
    doubts, _ = compact(entropy[..., None], sampled_mask)
    told, doubts = told[..., 0], doubts[..., 0]
    before, here = _shifted(told), torch.cat([doubts, doubts.new_zeros(len(doubts), 1)], 1)
    here.scatter_(1, lengths[:, None], final_entropy[:, None].to(here.dtype))
    written = torch.arange(told.shape[1] + 1, device=told.device).expand(len(told), -1).to(told.dtype)
    total = before.cumsum(1)
    columns = torch.stack(
        [
            before,
            total.log1p(),
            before.cummax(1).values,
            here,
            _shifted(doubts).cumsum(1).log1p(),
            written.log1p(),
            total / written.clamp(min=1),
        ],
        -1,
    )
    ends = columns[torch.arange(len(columns), device=columns.device), lengths]
    return expand(columns[:, :-1], sampled_mask)[sampled_mask], ends


def _shifted(dense: Float[Tensor, "N L"]) -> Float[Tensor, "N M"]:
    """One place to the right, a zero before the first."""
    return torch.cat([dense.new_zeros(len(dense), 1), dense], 1)
