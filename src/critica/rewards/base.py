"""What a source of supervision is: something that gives each trajectory an outcome, within a range it declares."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from critica.environments.base import Environment
from critica.records.supervision import Failed, Outcome
from critica.records.words import Task
from critica.rewards.wire import Item, TaskView
from critica.rewards.workers import WorkerLimits

EVIDENCE_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One trajectory's text, to be judged as an answer to its task."""

    task: Task
    trajectory_id: str
    text: str


class RewardSource(Protocol):
    """A live source. `scores` gives one outcome per request, by index; every `Scored` value lies in [low, high]."""

    name: str
    low: float
    high: float

    @property
    def busy_workers(self) -> int: ...

    @property
    def waiting_for(self) -> str: ...  # whose answers, how many, and until when at most; empty when nothing is asked

    @property
    def warnings(self) -> tuple[str, ...]: ...  # what this machine cannot enforce

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class RewardConfig(ABC):
    """The settings of a source: a frozen dataclass whose `build` gives the live source."""

    @abstractmethod
    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> RewardSource:  # noqa: B008
        """The live source, which judges tasks of this environment. Close it when done."""


class RewardFailures(RuntimeError):
    """Too many trajectories of a step have no outcome because the reward code failed."""


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """A step may go on while at most `max_share` of its trajectories failed; failed rows are masked, never zero."""

    max_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_share <= 1.0:
            raise ValueError(f"FailurePolicy.max_share is {self.max_share}: it is a share, between 0 and 1")

    def check(self, source: str, outcomes: Sequence[Outcome]) -> None:
        """Raise `RewardFailures` with the first errors if more than the allowed share failed."""
        errors = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
        if len(errors) <= self.max_share * len(outcomes):
            return
        shown = "".join(f"\n  - {error}" for error in errors[:EVIDENCE_SHOWN])
        raise RewardFailures(
            f"reward {source!r} failed for {len(errors)} of {len(outcomes)} trajectories, more than the allowed "
            f"{self.max_share:.0%}. First errors:{shown}\nFix the reward code, or allow more failures "
            f"(FailurePolicy.max_share)"
        )


def item_of(request: ScoreRequest) -> Item:
    """The plain data that travels to a worker."""
    task = request.task
    messages = tuple(
        {
            "role": m.role,
            "content": m.content,
            "tool_calls": [dict(call) for call in m.tool_calls],
            "tool_call_id": m.tool_call_id,
        }
        for m in task.messages
    )
    view = TaskView(task.task_id, task.environment, task.prompt, messages, task.answer, dict(task.info), task.seed)
    return Item(request.trajectory_id, view, request.text)
