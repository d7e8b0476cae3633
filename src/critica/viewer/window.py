"""The first and the last steps' rollouts as flat arrays, one step in memory at a time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from critica.store.rollouts import read_facts
from critica.store.run_folder import RunFolder, StepMetrics

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW = 10  # steps at either end of a run, if it has twice as many
ROW_COLUMNS = [
    "trajectory_id", "group_id", "task_id", "environment", "prompt", "text", "reward_told", "reward_clean", "correct",
    "flipped", "ledger_state",
]  # fmt: skip
TOKEN_COLUMNS = ["token_ids", "tokens", "sampled_mask", "value_mean", "advantage", "trained_mask"]


@dataclass(frozen=True, slots=True)
class Row:
    """One trajectory without its tokens. `credit` is the mean advantage of its trained tokens; NaN: unknown."""

    step: int
    trajectory_id: str
    group_id: str
    task_id: str
    source: str
    prompt: str
    text: str
    told: float
    clean: float
    correct: bool | None
    flipped: bool
    state: str
    credit: float


@dataclass(frozen=True, slots=True)
class StepArrays:
    """One step: its rows, and of each token that the policy wrote and the critic spoke about, in order:
    whose it is (`owner`, a row number), its place among the row's tokens, its id, and the value before it."""

    step: int
    facts: dict[str, Any]
    rows: tuple[Row, ...]
    owner: np.ndarray
    place: np.ndarray
    token_ids: np.ndarray
    values: np.ndarray
    texts: "pa.Array"
    flat: np.ndarray  # where in `texts` each token stands

    def text_of(self, index: int) -> str:
        """The text of token `index` of these arrays."""
        return str(self.texts[int(self.flat[index])].as_py())


T = TypeVar("T")


def ends(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The first ten and the last ten; of fewer than twenty the first and the second half, of one itself twice."""
    count = max(1, min(WINDOW, len(items) // 2))
    return items[:count], items[-count:]


def mean_of(lines: Sequence[StepMetrics], name: str) -> float:
    """Mean of a metric over the steps that have it; NaN if none has."""
    values = [line.get(name) for line in lines if not math.isnan(line.get(name))]
    return math.fsum(values) / len(values) if values else math.nan


def read_window(run: RunFolder, steps: Sequence[int]) -> Iterator[StepArrays]:
    """The steps one after the other."""
    for step in steps:
        yield step_arrays(run, step)


def step_arrays(run: RunFolder, step: int) -> StepArrays:
    """One step's rollouts."""
    table = run.rollouts(step, [*ROW_COLUMNS, *TOKEN_COLUMNS])
    columns = {name: table[name].combine_chunks() for name in TOKEN_COLUMNS}
    lengths = np.diff(columns["token_ids"].offsets.to_numpy())
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    flat = {name: columns[name].flatten() for name in TOKEN_COLUMNS}
    values = flat["value_mean"].to_numpy(zero_copy_only=False).astype(np.float64)
    trained = flat["trained_mask"].to_numpy(zero_copy_only=False)
    credit = _means(flat["advantage"].to_numpy(zero_copy_only=False), trained, owner, len(lengths))
    kept = np.flatnonzero(flat["sampled_mask"].to_numpy(zero_copy_only=False) & ~np.isnan(values))
    return StepArrays(
        step=step,
        facts=read_facts(table),
        rows=tuple(_row(step, row, credit[n]) for n, row in enumerate(table.select(ROW_COLUMNS).to_pylist())),
        owner=owner[kept],
        place=place[kept],
        token_ids=flat["token_ids"].to_numpy(zero_copy_only=False)[kept],
        values=values[kept],
        texts=flat["tokens"],
        flat=kept,
    )


def _means(values: np.ndarray, mask: np.ndarray, owner: np.ndarray, rows: int) -> np.ndarray:
    """Mean over each row's masked entries; NaN for a row without any."""
    counts = np.bincount(owner[mask], minlength=rows)
    sums = np.bincount(owner[mask], weights=values[mask].astype(np.float64), minlength=rows)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _row(step: int, row: dict[str, Any], credit: float) -> Row:
    told, clean = (np.nan if row[name] is None else float(row[name]) for name in ("reward_told", "reward_clean"))
    return Row(
        step, row["trajectory_id"], row["group_id"], row["task_id"], row["environment"], row["prompt"], row["text"],
        told, clean, row["correct"], bool(row["flipped"]), row["ledger_state"], float(credit),
    )  # fmt: skip
