"""Stored rollouts as training data for a critic: rows from Parquet, split by prompt, put back into aligned arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from critica.environments.splits import normalize
from critica.functional.random import uniforms
from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.words import StopReason
from critica.store.errors import DamagedRun
from critica.store.rollouts import read_facts
from critica.store.run_folder import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = [
    "trajectory_id", "group", "task_id", "prompt", "stop", "policy_version", "reward_told", "token_ids",
    "sampled_mask", "turn_index", "temperature", "behavior_logprobs", "reward_per_token",
]  # fmt: skip


class NoRollouts(ValueError):
    """There is nothing to fit a critic on."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One trajectory as the run folder kept it, with a known outcome."""

    name: str
    group: str
    prompt: str
    stop: str
    policy_version: int
    told: float
    token_ids: tuple[int, ...]
    sampled: tuple[bool, ...]
    turns: tuple[int, ...]
    temperature: tuple[float, ...]
    logprobs: tuple[float, ...]
    rewards: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StoredRollouts:
    """Groups of rows on either side of a split by prompt text, and the range that rewards lie in."""

    train: tuple[tuple[StoredRow, ...], ...]
    held_out: tuple[tuple[StoredRow, ...], ...]
    low: float
    high: float

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(len(group) for group in (*self.train, *self.held_out))


def read_stored(path: Path | str, held_out: float, seed: int) -> StoredRollouts:
    """The rollouts of a run folder, or of a folder of Parquet files that a run has written.

    `held_out` is the share of prompt texts that are kept for judging; all rows of one text fall on one side, whatever
    their step. Rows without an outcome are left out. Raises `NoRollouts`.
    """
    tables = _tables(Path(path))
    groups: dict[str, list[StoredRow]] = {}
    lows, highs = [], []
    for table in tables:
        facts = read_facts(table)
        lows.append(math.fsum(facts["low"]))
        highs.append(math.fsum(facts["high"]))
        for row in table.select(COLUMNS).to_pylist():
            if row["reward_told"] is not None and any(row["sampled_mask"]):
                made = _row(row, facts["step"])
                groups.setdefault(made.group, []).append(made)
    sides: tuple[list[tuple[StoredRow, ...]], list[tuple[StoredRow, ...]]] = ([], [])
    for members in groups.values():
        sides[is_held_out(members[0].prompt, held_out, seed)].append(tuple(members))
    if not sides[0] or not sides[1]:
        raise NoRollouts(
            f"{path} holds {len(groups)} groups with known outcomes, {len(sides[0])} to learn from and {len(sides[1])}"
            " to judge by: both are needed; gather more steps, or change --held-out"
        )
    return StoredRollouts(tuple(sides[0]), tuple(sides[1]), min(lows), max(highs))


def batch_of(rows: Sequence[StoredRow], low: float, high: float, prefix: str = "") -> tuple[TokenBatch, RewardBatch]:
    """The rows as aligned arrays. `prefix` distinguishes the random numbers of two passes over the same rows."""
    count, width = len(rows), max(len(row.token_ids) for row in rows)
    ids = torch.zeros(count, width, dtype=torch.long)
    sampled = torch.zeros(count, width, dtype=torch.bool)
    valid = torch.zeros(count, width, dtype=torch.bool)
    turns = torch.full((count, width), -1, dtype=torch.long)
    temperature, logprobs, rewards = torch.ones(count, width), torch.zeros(count, width), torch.zeros(count, width, 1)
    for n, row in enumerate(rows):
        end = len(row.token_ids)
        ids[n, :end], sampled[n, :end], valid[n, :end] = torch.tensor(row.token_ids), torch.tensor(row.sampled), True
        turns[n, :end], temperature[n, :end] = torch.tensor(row.turns), torch.tensor(row.temperature)
        logprobs[n, :end], rewards[n, :end, 0] = torch.tensor(row.logprobs), torch.tensor(row.rewards)
    names = {name: i for i, name in enumerate(dict.fromkeys(row.group for row in rows))}
    group = torch.tensor([names[row.group] for row in rows])
    index = torch.arange(count)
    batch = TokenBatch(
        ids, valid, sampled, turns, torch.where(sampled, sampled.cumsum(-1) - 1, -1), temperature, logprobs,
        prefix_length=sampled.int().argmax(-1), group_index=group, task_index=group,
        role_index=torch.zeros_like(index), parent_index=torch.full_like(index, -1), episode_index=index,
        policy_version=torch.tensor([row.policy_version for row in rows]),
        stop=tuple(StopReason(row.stop) for row in rows), trajectory_ids=tuple(prefix + row.name for row in rows),
    )  # fmt: skip
    told = torch.tensor([[row.told] for row in rows])
    known = torch.ones_like(told, dtype=torch.bool)
    return batch, RewardBatch(("told",), told, known, known.float(), rewards, (low,), (high,))


def _tables(path: Path) -> "list[pa.Table]":
    if (path / "run.json").is_file():
        run = RunFolder.open(path)
        tables = [run.rollouts(step) for step in run.rollout_steps]
    else:
        tables = [_table(file) for file in sorted(path.glob("*.parquet"))]
    if not tables:
        raise NoRollouts(f"{path} holds no rollouts: name a run folder, or a folder of its rollouts/step_*.parquet")
    return tables


def _table(file: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DamagedRun(f"{file} cannot be read ({error}): leave it out, or copy it again from its run") from error
    missing = sorted(set(COLUMNS) - set(table.column_names))
    if missing or "low" not in read_facts(table):
        raise NoRollouts(f"{file} was not written by a run of Critica: it lacks {', '.join(missing) or 'its facts'}")
    return table


def _row(row: dict, step: int) -> StoredRow:
    return StoredRow(
        name=row["trajectory_id"],
        group=f"{step}.{row['group']}",
        prompt=row["prompt"],
        stop=row["stop"],
        policy_version=row["policy_version"],
        told=row["reward_told"],
        token_ids=tuple(row["token_ids"]),
        sampled=tuple(row["sampled_mask"]),
        turns=tuple(row["turn_index"]),
        temperature=tuple(row["temperature"]),
        logprobs=tuple(row["behavior_logprobs"]),
        rewards=tuple(row["reward_per_token"]),
    )


def is_held_out(prompt: str, share: float, seed: int) -> bool:
    """On which side of the split a prompt's text falls."""
    return bool(uniforms(seed, "critic fit/split", normalize(prompt), count=1)[0] < share)
