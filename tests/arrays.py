"""Small batches built by hand for tests of critics, credit and losses."""

import torch

from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.words import StopReason


def token_batch(sampled: list[str], groups: list[int], prefix: int = 1) -> TokenBatch:
    """Rows drawn as strings: 'c' context, 's' sampled, '.' padding."""
    rows, width = len(sampled), max(map(len, sampled))
    grid = [row.ljust(width, ".") for row in sampled]
    wrote = torch.tensor([[cell == "s" for cell in row] for row in grid])
    valid = torch.tensor([[cell != "." for cell in row] for row in grid])
    node = torch.where(wrote, wrote.cumsum(-1) - 1, -1)
    index = torch.arange(rows)
    return TokenBatch(
        torch.zeros(rows, width, dtype=torch.long), valid, wrote, torch.where(valid, wrote.long(), -1), node,
        torch.ones(rows, width), torch.where(wrote, -0.5, 0.0), torch.full((rows,), prefix),
        torch.tensor(groups), torch.tensor(groups), torch.zeros(rows, dtype=torch.long),
        torch.full((rows,), -1), index, torch.zeros(rows, dtype=torch.long),
        (StopReason.END_OF_TEXT,) * rows, tuple(f"t{i}" for i in range(rows)),
    )  # fmt: skip


def told_batch(batch: TokenBatch, outcomes: list[float | None]) -> RewardBatch:
    """One objective; None is an unknown outcome."""
    outcome = torch.tensor([[float("nan") if value is None else value] for value in outcomes])
    known = ~outcome.isnan()
    per_token = torch.zeros(*batch.token_ids.shape, 1)
    for row, value in enumerate(outcomes):
        last = int(batch.sampled_mask[row].nonzero()[-1])
        per_token[row, last, 0] = 0.0 if value is None else value
    return RewardBatch(("r",), outcome, known, known.float(), per_token, (0.0,), (1.0,))
