"""Which rows each optimizer step learns from."""

import torch
from jaxtyping import Int
from torch import Tensor

from critica.records.arrays import TokenBatch


def update_rows(batch: TokenBatch, parts: int, generator: torch.Generator) -> list[Int[Tensor, "R"]]:
    """The rows of each optimizer step: one part is the whole batch; more parts deal out whole groups at random."""
    if parts == 1:
        return [torch.arange(batch.rows, device=batch.device)]
    names = batch.group_index.unique()
    shuffled = names[torch.randperm(len(names), generator=generator).to(names.device)]
    dealt = [torch.isin(batch.group_index, chunk).nonzero().squeeze(-1) for chunk in shuffled.tensor_split(parts)]
    return [rows for rows in dealt if len(rows)]
