"""Which tokens of a batch are computed, in which order, and which other tokens each one sees."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.records.arrays import TokenBatch

WASTE = 1.25  # rows attend together while padding them costs at most this factor
SCORES = 1 << 24  # attention scores of one head computed together, at most


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Where the keys that a block's rows share are: `slots[i]` is the place of flat token `tokens[i]` in [n P]."""

    tokens: Int[Tensor, "m"]
    slots: Int[Tensor, "m"]
    owner: Int[Tensor, "n"]
    count: int
    width: int


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that attend together: flat tokens [start, stop), padded to [rows, width], after shared keys if any.

    `slots` places each flat token in the padded grid; None when the rows are equally long and the grid is a view.
    `bias` is added to the scores: 0 where a query may look, -inf where it may not.
    """

    start: int
    stop: int
    rows: int
    width: int
    slots: Int[Tensor, "m"] | None
    prefixes: Prefixes | None
    bias: Float[Tensor, "#n 1 R S"]


@dataclass(frozen=True, slots=True)
class Layout:
    """A batch as packed tokens: every shared prefix once, no padding outside attention.

    `before` indexes, for each sampled token in row-major order, the flat token that stands before it; `last` is
    each row's last valid token (empty when the final states were not asked for).
    """

    token_ids: Int[Tensor, "M"]
    positions: Int[Tensor, "M"]
    blocks: tuple[Block, ...]
    before: Int[Tensor, "S"]
    last: Int[Tensor, "N"]


def plan_layout(batch: TokenBatch, with_final: bool) -> Layout:
    """Pack the tokens that the asked states depend on.

    Rows of a group whose first `prefix_length` tokens are equal compute that prefix once; a row that claims a prefix
    it does not have is computed on its own. Tokens after the last needed state are left out.
    """
    lengths = _needed_lengths(batch, with_final)
    owner, prefix = _owners(batch, lengths)
    roots, root_of = torch.unique(owner, return_inverse=True)
    rest = lengths - prefix
    flat_of = torch.full(batch.token_ids.shape, -1, dtype=torch.long, device=batch.token_ids.device)
    pieces: list[tuple[Tensor, Tensor]] = []
    blocks: list[Block] = []
    start = 0
    for rows in _similar_rows(prefix[roots], 0):
        owners = roots[rows]
        block, cells = _block(owners, torch.zeros_like(owners), prefix[owners], start, None)
        blocks.append(block)
        pieces.append(cells)
        flat_of[cells] = torch.arange(start, block.stop, device=flat_of.device)
        start = block.stop
    longest = int(prefix.max()) if prefix.numel() else 0
    for rows in _similar_rows(rest, longest):
        shared = _prefixes(rows, root_of, roots, prefix, flat_of)
        block, cells = _block(rows, prefix[rows], rest[rows], start, shared)
        blocks.append(block)
        pieces.append(cells)
        flat_of[cells] = torch.arange(start, block.stop, device=flat_of.device)
        start = block.stop
    rows, columns = (torch.cat([piece[i] for piece in pieces]) for i in (0, 1))
    return Layout(
        token_ids=batch.token_ids[rows, columns],
        positions=columns,
        blocks=tuple(blocks),
        before=_before(batch, flat_of, owner, prefix),
        last=_last(batch, flat_of, owner, prefix) if with_final else rows.new_zeros(0),
    )


def _needed_lengths(batch: TokenBatch, with_final: bool) -> Int[Tensor, "N"]:
    if with_final:
        return batch.lengths
    columns = torch.arange(batch.token_ids.shape[1], device=batch.token_ids.device)
    return (batch.sampled_mask * columns).amax(-1)


def _owners(batch: TokenBatch, lengths: Tensor) -> tuple[Int[Tensor, "N"], Int[Tensor, "N"]]:
    """Per row: the first row whose prefix it shares (itself when none), and the length of that prefix."""
    rows = torch.arange(batch.rows, device=lengths.device)
    prefix = torch.minimum(batch.prefix_length, lengths)
    order = {}
    for row, (group, size) in enumerate(zip(batch.group_index.tolist(), prefix.tolist(), strict=True)):
        order.setdefault((group, size), row)
    keys = zip(batch.group_index.tolist(), prefix.tolist(), strict=True)
    owner = torch.tensor([order[key] for key in keys], dtype=torch.long, device=lengths.device)
    columns = torch.arange(batch.token_ids.shape[1], device=lengths.device)
    equal = (batch.token_ids == batch.token_ids[owner]) | (columns >= prefix.unsqueeze(1))
    alone = ~equal.all(-1) | (torch.bincount(owner, minlength=batch.rows)[owner] < 2)
    owner = torch.where(alone, rows, owner)
    # A prefix that nobody shares is no prefix: the row is computed in one piece.
    shared = torch.bincount(owner, minlength=batch.rows)[owner] > 1
    return torch.where(shared, owner, rows), torch.where(shared, prefix, torch.zeros_like(prefix))


def _similar_rows(lengths: Int[Tensor, "n"], before: int) -> list[Int[Tensor, "m"]]:
    """Rows of nonzero length, cut into runs of similar length so that padding and score memory stay bounded."""
    order = torch.argsort(lengths, descending=True, stable=True)
    sizes = lengths[order].tolist()
    cuts, begin, total = [0], 0, 0
    for i, size in enumerate(sizes):
        if size == 0:
            sizes = sizes[:i]
            break
        widest = sizes[begin]
        grown = widest * (i + 1 - begin)
        full = grown * (widest + before) > SCORES and i > begin
        if full or (grown > WASTE * (total + size) and i - begin >= 8):
            cuts.append(i)
            begin, total = i, 0
        total += size
    ends = [*cuts[1:], len(sizes)]
    return [order[a:b].sort().values for a, b in zip(cuts, ends, strict=True) if b > a]


def _block(
    rows: Tensor, first: Tensor, sizes: Tensor, start: int, shared: Prefixes | None
) -> tuple[Block, tuple[Tensor, Tensor]]:
    """The block of these rows' tokens [first, first + size), and their (row, column) cells in flat order."""
    width, count = int(sizes.max()), rows.shape[0]
    steps = torch.arange(width, device=rows.device)
    held = steps < sizes.unsqueeze(1)
    cells = (rows.unsqueeze(1).expand(count, width)[held], (first.unsqueeze(1) + steps)[held])
    equal = bool(held.all())
    slots = None if equal else held.flatten().nonzero().squeeze(-1)
    stop = start + cells[0].shape[0]
    block = Block(start, stop, count, width, slots, shared, _bias(rows, steps, first, shared))
    return block, cells


def _bias(rows: Tensor, steps: Tensor, first: Tensor, shared: Prefixes | None) -> Float[Tensor, "#n 1 R S"]:
    """0 on the shared keys that exist and on own keys up to the query; right padding lies after every real query."""
    causal = (steps.unsqueeze(1) < steps).to(torch.float32).masked_fill_(steps.unsqueeze(1) < steps, -torch.inf)
    if shared is None:
        return causal[None, None]
    outside = torch.arange(shared.width, device=rows.device) >= first.unsqueeze(1)
    ahead = torch.zeros(outside.shape, device=rows.device).masked_fill_(outside, -torch.inf)
    if not bool(outside.any()):
        ahead = ahead[:1]
    height = steps.shape[0]
    parts = [
        ahead[:, None, None, :].expand(-1, 1, height, -1),
        causal[None, None].expand(ahead.shape[0], -1, -1, -1),
    ]
    return torch.cat(parts, -1)


def _prefixes(rows: Tensor, root_of: Tensor, roots: Tensor, prefix: Tensor, flat_of: Tensor) -> Prefixes | None:
    used, owner = torch.unique(root_of[rows], return_inverse=True)
    owners = roots[used]
    width = int(prefix[owners].max())
    if width == 0:
        return None
    held = torch.arange(width, device=rows.device) < prefix[owners].unsqueeze(1)
    tokens = flat_of[owners, :width][held]
    return Prefixes(tokens, held.flatten().nonzero().squeeze(-1), owner, owners.shape[0], width)


def _place(flat_of: Tensor, owner: Tensor, prefix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    holder = torch.where(columns < prefix[rows], owner[rows], rows)
    return flat_of[holder, columns]


def _before(batch: TokenBatch, flat_of: Tensor, owner: Tensor, prefix: Tensor) -> Int[Tensor, "S"]:
    rows, columns = batch.sampled_mask.nonzero(as_tuple=True)
    return _place(flat_of, owner, prefix, rows, columns - 1)


def _last(batch: TokenBatch, flat_of: Tensor, owner: Tensor, prefix: Tensor) -> Int[Tensor, "N"]:
    rows = torch.arange(batch.rows, device=flat_of.device)
    return _place(flat_of, owner, prefix, rows, batch.lengths - 1)
