"""Unit tests as a reward: does the Python program in a completion do what the task's cases ask?

Programs run in a sandbox, see `rewards.shelters`; cases are judged outside of it, see `rewards.unit_judge`. A program
that fails is `Scored(0)`; only a task without usable cases or a broken sandbox has `Failed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from critica.environments.base import Environment
from critica.records.supervision import Failed, Outcome, Scored
from critica.rewards.base import RewardConfig, ScoreRequest, item_of
from critica.rewards.isolation import Isolation
from critica.rewards.verdicts import Report
from critica.rewards.wire import Program
from critica.rewards.workers import WorkerLimits, WorkerPool

SLACK_SECONDS = 30.0  # beyond a program's own limit: starting its process, judging what it gave
WORKER_MIB = 4096  # of address space, most of it never touched: a worker holds the output of one program
WORKER_CPU_SECONDS = 600.0


@dataclass(frozen=True)
class UnitTests(RewardConfig):
    """1 if every case passes, or with `partial` the share that does. `rewards.programs` says how tasks hold cases.

    The program is the completion's last fenced Python block, else the whole text. `case_seconds` of wall clock for each
    case, `program_seconds` for all; `tolerance` lets numbers differ, 0 compares exactly. Where the machine cannot keep
    a hostile program in, building the reward is refused unless `allow_weak_isolation`.
    """

    partial: bool = False
    case_seconds: float = 5.0
    program_seconds: float = 30.0
    memory_mib: int = 256
    output_kib: int = 1024
    tolerance: float = 0.0
    allow_weak_isolation: bool = False

    def __post_init__(self) -> None:
        for name in ("case_seconds", "program_seconds", "memory_mib", "output_kib"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"UnitTests.{name} is {getattr(self, name)}: it must be above 0, and finite")
        if not 0.0 <= self.tolerance < float("inf"):
            raise ValueError(f"UnitTests.tolerance is {self.tolerance}: it must be 0 or above, and finite")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "UnitTestSource":  # noqa: B008
        """The live source. Raises `RewardCodeProblem` where programs cannot be isolated."""
        names = ("partial", "case_seconds", "program_seconds", "memory_mib", "output_kib", "tolerance")
        settings = {name: getattr(self, name) for name in (*names, "allow_weak_isolation")}
        own = replace(
            limits,
            call_seconds=self.program_seconds + SLACK_SECONDS,
            cpu_seconds=WORKER_CPU_SECONDS,
            memory_mib=max(WORKER_MIB, limits.memory_mib),
            network=False,
        )
        return UnitTestSource(settings, own)


class UnitTestSource:
    """The live source: one program at a time in each of its workers, each program in a process of its own."""

    name = "unit_tests"
    low = 0.0
    high = 1.0

    def __init__(self, settings: dict[str, object], limits: WorkerLimits) -> None:
        self._pool = WorkerPool(Program("critica.rewards.unit_judge", "make_unit_judge", settings), limits)
        self.reports: tuple[Report | None, ...] = ()  # of the last call of `scores`, by index; None: failed
        self._asked = 0  # programs whose judgment is awaited

    @property
    def busy_workers(self) -> int:
        """Cores that programs occupy right now."""
        return self._pool.busy_workers

    @property
    def waiting_for(self) -> str:
        """How many programs are awaited; empty if none is."""
        return f"{self._asked} programs of reward {self.name} ({self.busy_workers} running)" if self._asked else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this machine cannot enforce about programs, and how to get it."""
        warning = self.isolation.warning
        return (warning,) if warning else ()

    @property
    def isolation(self) -> Isolation:
        """What keeps programs in, and what is missing here."""
        return self._pool.isolation

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, by index."""
        self._asked = len(items)
        try:
            replies = self._pool.run([item_of(item) for item in items])
        finally:
            self._asked = 0
        self.reports = tuple(None if reply.error else Report.from_note(reply.note) for reply in replies)
        outcomes: list[Outcome] = []
        for item, reply in zip(items, replies, strict=True):
            if reply.error or reply.value is None:
                where = f"(trajectory {item.trajectory_id!r}, task {item.task.task_id!r})"
                outcomes.append(Failed(f"reward unit_tests {reply.error} {where}"))
            else:
                outcomes.append(Scored(reply.value))
        return outcomes

    def close(self) -> None:
        """End every process."""
        self._pool.close()

    def __enter__(self) -> "UnitTestSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
