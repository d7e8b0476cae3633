"""Groups written by hand for critics that count: tokens, tasks, and policies that spell tokens as told."""

from dataclasses import replace

import torch

from arrays import token_batch
from critica.records.arrays import TokenBatch
from critica.records.evidence import Evidence, Groups
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from fakes import BigramPolicy


def written(rows: list[list[int]], groups: list[int], prompt: int = 1) -> TokenBatch:
    """Rows of sampled token ids, each after `prompt` context tokens 0."""
    batch = token_batch(["c" * prompt + "s" * len(row) for row in rows], groups, prompt)
    ids = batch.token_ids.clone()
    for n, row in enumerate(rows):
        ids[n, prompt : prompt + len(row)] = torch.tensor(row)
    return replace(batch, token_ids=ids)


def groups_of(batch: TokenBatch, names: list[str], prompts: list[str] | None = None) -> Evidence:
    """The words behind a batch: the task of each group by name, and its prompt if it matters."""
    made = []
    for key in batch.group_index.unique().tolist():
        prompt = prompts[key] if prompts else names[key]
        task = Task(names[key], "world", (Message("user", prompt),), "")
        rows = (batch.group_index == key).nonzero()[:, 0].tolist()
        turns = (
            ContextTurn(task.messages[-1], (0,)),
            SampledTurn(Message("assistant", "x"), (1,), (-0.5,), 1.0, 0),
        )
        made.append(
            Group(
                f"g{key}", task,
                tuple(
                    Trajectory(
                        batch.trajectory_ids[n], f"e{n}", names[key], f"g{key}", "policy", turns,
                        StopReason.END_OF_TEXT,
                    )
                    for n in rows
                ),
            )
        )  # fmt: skip
    return Evidence(Groups(tuple(made)))


class Speller(BigramPolicy):
    """Token i is `pieces[i]`."""

    def __init__(self, pieces: list[str]) -> None:
        super().__init__(vocabulary=max(2, len(pieces)))
        self.pieces = pieces

    def token_texts(self, batch):
        return tuple(
            tuple(self.pieces[int(i)] for i in ids[:length])
            for ids, length in zip(batch.token_ids, batch.lengths.tolist(), strict=True)
        )


def sampled(batch: TokenBatch, grid: torch.Tensor, row: int) -> list[float]:
    """The sampled cells of one row."""
    return grid[row][batch.sampled_mask[row]].tolist()
