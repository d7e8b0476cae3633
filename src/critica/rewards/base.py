"""What a source of supervision is: something that gives each trajectory an outcome, within a range it declares."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from critica.environments.base import Environment
from critica.records.protocols import Stateful
from critica.records.supervision import Failed, Outcome, Scale, Scored, Verdict
from critica.records.words import EMPTY, Task
from critica.rewards.exposure import Needs, visible, withheld
from critica.rewards.wire import Item, TaskView
from critica.rewards.workers import WorkerLimits

EVIDENCE_SHOWN = 3


Scope = Literal["sample", "group", "batch"]


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One trajectory's text, to be judged as an answer to its task. Siblings share `group` and `step`.

    `tokens` is how many it took to write it; 0 where nobody knows.
    """

    task: Task
    trajectory_id: str
    text: str
    group: str = ""
    step: int = 0
    tokens: int = 0


class RewardSource(Protocol):
    """A live source. `scores` gives one outcome per request, by index; every `Scored` value lies in [low, high]."""

    name: str

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...

    @property
    def busy_workers(self) -> int: ...

    @property
    def waiting_for(self) -> str: ...  # whose answers, how many, and until when at most; empty when nothing is asked

    @property
    def warnings(self) -> tuple[str, ...]: ...  # what this machine cannot enforce

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]: ...

    def close(self) -> None: ...


class VerdictSource(ABC):
    """A live source that says more than one number: several objectives, spans of the text, parts, costs.

    `scope` says what has to be asked at once: one answer, all siblings of a prompt, or a step. `needs` names the task
    fields that `judge` sees (None: all); the others are not there. A source with memory has `state_dict` and
    `load_state_dict`, and its checkpoint goes with the run's. One that waits for somebody else (`takes_hints`) is told
    of each answer as its last token is written, and may begin to ask in `prepare`.
    """

    name: str
    scales: tuple[Scale, ...]
    scope: Scope = "sample"
    needs: Needs = None
    takes_hints: bool = False

    @abstractmethod
    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """One verdict per request, by index, with an outcome for each of `scales`; values lie in their scale."""

    def verdicts(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """`judge` of what it may see. A value outside of its scale has failed: it is never clipped."""
        shown = [replace(item, task=visible(item.task, self.needs)) for item in items]
        said = self.judge(shown)
        if len(said) != len(items):
            raise ValueError(f"reward {self.name!r} gave {len(said)} verdicts about {len(items)} answers")
        return [within_scales(self.name, self.scales, verdict) for verdict in said]

    def hint(self, item: ScoreRequest, among: int) -> None:
        """It will be asked about this answer, with at most `among` in all, and before it is asked anything else.

        Only time may depend on it: what is said, counted and remembered is what it would be without.
        """
        if self.takes_hints:
            self.prepare(replace(item, task=visible(item.task, self.needs)), among)

    def prepare(self, item: ScoreRequest, among: int) -> None:
        """Begin what `judge` will need for this item, and return at once. Nothing, unless a source knows better."""
        return

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        """The sum over objectives, for who wants one number."""
        return [verdict.total for verdict in self.verdicts(items)]

    @property
    def low(self) -> float:
        """The least sum."""
        return math.fsum(scale.low for scale in self.scales)

    @property
    def high(self) -> float:
        """The greatest sum."""
        return math.fsum(scale.high for scale in self.scales)

    @property
    def busy_workers(self) -> int:
        """Cores that it occupies right now."""
        return 0

    @property
    def waiting_for(self) -> str:
        """Whose answers are awaited."""
        return ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this machine cannot enforce."""
        return ()

    def close(self) -> None:
        """Nothing to end."""
        return


class AroundSource(VerdictSource):
    """A live source beside another, `_then`, that says what is right: it is busy, waits and closes with it."""

    _then: RewardSource

    @property
    def busy_workers(self) -> int:
        """Those of the source inside."""
        return self._then.busy_workers

    @property
    def waiting_for(self) -> str:
        """What the source inside waits for."""
        return self._then.waiting_for

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the source inside."""
        return self._then.warnings

    def close(self) -> None:
        """End the source inside."""
        self._then.close()


def scales_of(source: RewardSource) -> tuple[Scale, ...]:
    """The objectives of any source, with their ranges. Raises ValueError for two of one name, or for none."""
    if not isinstance(source, VerdictSource):
        return (Scale(source.name, source.low, source.high),)
    names = [scale.name for scale in source.scales]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"reward {source.name!r} has the objectives {names}: it takes one at least, each named apart")
    return source.scales


def scope_of(source: RewardSource) -> Scope:
    """What has to be asked of it at once."""
    return source.scope if isinstance(source, VerdictSource) else "sample"


def verdicts_of(source: RewardSource, items: Sequence[ScoreRequest]) -> list[Verdict]:
    """What any source says, one verdict per request by index."""
    if isinstance(source, VerdictSource):
        return source.verdicts(items)
    return [Verdict((outcome,)) for outcome in source.scores(items)]


def memory_of(source: RewardSource) -> Mapping[str, Any]:
    """The state of a source that has some."""
    return source.state_dict() if isinstance(source, Stateful) else EMPTY


def remind(source: RewardSource, memory: Mapping[str, Any]) -> None:
    """Give a source the memory that `memory_of` took; nothing if it has none."""
    if memory and isinstance(source, Stateful):
        source.load_state_dict(memory)


def within_scales(name: str, scales: tuple[Scale, ...], verdict: Verdict) -> Verdict:
    """The verdict, with a failure in place of each value outside of its scale."""
    if len(verdict.outcomes) != len(scales):
        raise ValueError(f"reward {name!r} gave {len(verdict.outcomes)} outcomes for its {len(scales)} objectives")
    if any(not 0 <= span.objective < len(scales) for span in verdict.spans):
        raise ValueError(f"reward {name!r} gave a span of an objective that it has not: they are counted from 0")
    kept = tuple(checked(name, scale, said) for scale, said in zip(scales, verdict.outcomes, strict=True))
    return verdict if kept == verdict.outcomes else replace(verdict, outcomes=kept)


def checked(name: str, scale: Scale, outcome: Outcome) -> Outcome:
    """The outcome, or a failure if its value is outside of the scale."""
    if not isinstance(outcome, Scored) or scale.low <= outcome.value <= scale.high:
        return outcome
    return Failed(
        f"reward {name!r} said {outcome.value:g} for {scale.name!r}, outside its declared range"
        f" [{scale.low:g}, {scale.high:g}]: declare the range it has, or correct it"
    )


@dataclass(frozen=True)
class RewardConfig(ABC):
    """The settings of a source: a frozen dataclass whose `build` gives the live source."""

    @property
    def scope(self) -> Scope:
        """What the live source has to be asked at once; budgets that write in waves take `sample` only."""
        return "sample"

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


def item_of(request: ScoreRequest, needs: Needs = None) -> Item:
    """The plain data that travels to a worker: of the task only what was declared."""
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
    if needs is not None:
        hidden = withheld(needs) | ({"messages"} if "prompt" not in needs else frozenset())
        info = visible(task, needs).info
        seen = {name: value for name, value in view.seen().items() if name not in hidden}
        view = TaskView.of(seen | ({"info": dict(info)} if "info" in seen else {}))
    return Item(request.trajectory_id, view, request.text)
