"""Truncated sampling: top-k, top-p and min-p as one act, and the tokens that it leaves, to be learned from as such."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Truncation:
    """Which tokens of a next-token law may be drawn; by default all.

    In this order, as transformers does it: the `top_k` likeliest (0: all); of these the fewest whose share of the mass
    left reaches `top_p` (Holtzman et al. 2020, arXiv 1904.09751); of these the ones at least `min_p` times as likely
    as the likeliest (Nguyen et al. 2024, arXiv 2407.01082). The likeliest token always stays. All three look at the
    law after temperature.
    """

    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: a share of the mass above 0, and at most 1, which cuts nothing")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}: how many tokens may be drawn, or 0 for all")
        if not 0 <= self.min_p < 1:
            raise ValueError(f"min_p is {self.min_p}: a share of the likeliest token's chance, from 0 up to below 1")

    @property
    def cuts(self) -> bool:
        """Whether anything can be left out."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    def best(self, logits: Float[Tensor, "n V"]) -> tuple[Int[Tensor, "n k"], Int[Tensor, "n"]]:
        """The ids of each row, likeliest first, and how many of them are kept. Among equals the sort decides."""
        width = logits.shape[-1]
        if 0 < self.top_k < width:
            values, ids = logits.topk(self.top_k, -1)
        else:
            values, ids = torch.sort(logits, dim=-1, descending=True, stable=True)
        mass = values.softmax(-1)
        stays = mass > 0
        if self.top_p < 1:
            stays &= mass.cumsum(-1) - mass < self.top_p
        if self.min_p > 0:
            stays &= mass >= self.min_p * mass[:, :1]
        stays[:, 0] = True
        return ids, stays.sum(-1)


def among(
    logits: Float[Tensor, "n V"], ids: Int[Tensor, "n k"], counts: Int[Tensor, "n"]
) -> tuple[Float[Tensor, "n V"], Int[Tensor, "E"]]:
    """The logits with all but each row's first `counts` ids at -inf, and those ids, row by row."""
    stays = torch.arange(ids.shape[1], device=ids.device) < counts.unsqueeze(1)
    kept = torch.full_like(logits, -torch.inf)
    kept.scatter_(1, ids, logits.gather(1, ids).masked_fill(~stays, -torch.inf))
    return kept, ids[stays]
