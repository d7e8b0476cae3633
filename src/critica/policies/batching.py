"""How rows are cut to fit memory: whole groups together, similar lengths together, order fixed by the data alone."""

import torch
from jaxtyping import Int
from torch import Tensor

from critica.records.arrays import TokenBatch


def microbatches(batch: TokenBatch, rows: Int[Tensor, "R"], tokens: int) -> list[Int[Tensor, "R2"]]:
    """Cut these rows into pieces of at most `tokens` grid cells each (a longer single row is a piece of its own).

    Siblings stay neighbors, so that their shared prompt is computed once; pieces are balanced so that the last one
    is not a scrap. Cells count the padded width of the piece, the shared prompt once per group.
    """
    lengths, prefixes = batch.lengths[rows].tolist(), batch.prefix_length[rows].tolist()
    groups = batch.group_index[rows].tolist()
    longest: dict[int, int] = {}
    for group, length in zip(groups, lengths, strict=True):
        longest[group] = max(longest.get(group, 0), length)
    order = sorted(range(len(lengths)), key=lambda i: (-longest[groups[i]], groups[i], i))
    total = sum(length - prefix for length, prefix in zip(lengths, prefixes, strict=True))
    total += sum({group: prefix for group, prefix in zip(groups, prefixes, strict=True)}.values())
    pieces = max(1, -(-total // tokens))
    share = total / pieces
    cut: list[list[int]] = [[]]
    filled, seen = 0.0, set()
    for i in order:
        cost = lengths[i] - prefixes[i] + (0 if groups[i] in seen else prefixes[i])
        if cut[-1] and (filled + cost > tokens or filled >= share):
            cut.append([])
            filled, seen = 0.0, set()
            cost = lengths[i]
        cut[-1].append(i)
        filled += cost
        seen.add(groups[i])
    return [rows[torch.tensor(sorted(piece), device=rows.device)] for piece in cut]
