"""A trusted built-in check in this process: no workers, for rules whose time is bounded by the length of the text.

Only `exact`, `numeric` and `format` are such rules: neither user code nor a user's pattern runs here. The deadline
still holds: between two answers the clock is looked at, and one answer takes time in proportion to its text, whose
length is bounded. `workers.in_process=false` sends them through killable workers like all other reward code.
"""

import time
from collections.abc import Sequence
from typing import Self, cast

from critica.records.supervision import Failed, Outcome, Scored
from critica.rewards.base import ScoreRequest
from critica.rewards.judges import Check
from critica.rewards.nursery import describe
from critica.rewards.wire import TaskView
from critica.rewards.workers import WorkerLimits

LONGEST = 1_000_000  # characters of a text: a look at one takes milliseconds


class InProcessSource:
    """A live source without processes. Its values are between 0 and 1."""

    low = 0.0
    high = 1.0
    busy_workers = 0
    waiting_for = ""
    warnings: tuple[str, ...] = ()
    worker_pids: tuple[int, ...] = ()

    def __init__(self, name: str, check: Check, limits: WorkerLimits) -> None:
        self.name = name
        self._check = check
        self._limits = limits

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, by index."""
        end = time.monotonic() + self._limits.batch_seconds
        return [self._outcome(item, end) for item in items]

    def _outcome(self, item: ScoreRequest, end: float) -> Outcome:
        if time.monotonic() >= end:
            error = f"had not answered when the batch's {self._limits.batch_seconds:g} s were over"
        elif len(item.text) > LONGEST:
            error = f"reads texts of at most {LONGEST:,} characters here, and this one has {len(item.text):,}"
        else:
            try:
                task = TaskView.of({"task_id": item.task.task_id, "answer": item.task.answer, "info": item.task.info})
                return Scored(float(cast(float, self._check(task, item.text))))
            except Exception as found:
                error = f"raised {describe(found)}"
        return Failed(
            f"reward function {self.name} {error} (trajectory {item.trajectory_id!r}, task {item.task.task_id!r})"
        )

    def close(self) -> None:
        """Nothing to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
