"""Verifiers and plain functions as reward sources: the settings a user writes, and the live source in its workers."""

import re
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

from critica.environments.base import CORRECT, Environment
from critica.records.supervision import Abstained, Failed, Outcome, Scored
from critica.records.words import Message, Task
from critica.rewards.base import RewardConfig, ScoreRequest, item_of
from critica.rewards.exposure import Needs, read_needs
from critica.rewards.functions import function_judge
from critica.rewards.in_process import InProcessSource
from critica.rewards.judges import at_least, make_check
from critica.rewards.wire import Item, Judge, Program, Reply, TaskView
from critica.rewards.workers import WorkerLimits, WorkerPool

JUDGES = "critica.rewards.judges"


class WorkerSource:
    """A live source whose code runs in killable workers. A context manager."""

    def __init__(
        self,
        code: Program | Judge,
        limits: WorkerLimits,
        low: float,
        high: float,
        name: str = "",
        needs: Needs = None,
    ) -> None:
        self._pool = WorkerPool(code, limits)
        self._needs = needs
        self.name = name or self._pool.name
        self.low = low
        self.high = high
        self._asked = (0, 0.0)  # how many answers are awaited, and until which monotonic time at most

    @property
    def busy_workers(self) -> int:
        """Cores that reward code occupies right now."""
        return self._pool.busy_workers

    @property
    def waiting_for(self) -> str:
        """Whose answers are awaited, and for how much longer at most."""
        count, end = self._asked
        if not count:
            return ""
        left = max(0.0, end - time.monotonic())
        return f"{count} answers of reward {self.name} ({self.busy_workers} workers busy, {left:.0f} s left)"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this machine cannot enforce about reward code, and how to get it."""
        warning = self._pool.isolation.warning
        return (warning,) if warning else ()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the live workers."""
        return self._pool.worker_pids

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, by index. None is an abstention; anything but a number in range has `Failed`."""
        start, limit = time.monotonic(), self._pool.limits.batch_seconds
        self._asked = (len(items), start + limit)
        try:
            replies = self._pool.run([item_of(item, self._needs) for item in items])
        finally:
            self._asked = (0, 0.0)
        return [self._outcome(item, reply) for item, reply in zip(items, replies, strict=True)]

    def _outcome(self, item: ScoreRequest, reply: Reply) -> Outcome:
        if reply.error:
            return Failed(self._sentence(item, reply.error))
        if reply.value is None:
            reason = reply.note or "returned None"
            return Abstained(f"{self.name} {reason} for trajectory {item.trajectory_id!r}")
        if not self.low <= reply.value <= self.high:
            return Failed(
                self._sentence(
                    item,
                    f"returned {reply.value:g}, outside its declared range [{self.low:g}, {self.high:g}]: "
                    "declare the range it has, or correct it",
                )
            )
        return Scored(reply.value)

    def _sentence(self, item: ScoreRequest, error: str) -> str:
        return f"reward function {self.name} {error} (trajectory {item.trajectory_id!r}, task {item.task.task_id!r})"

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Verifier(RewardConfig):
    """A rule that judges the text, from 0 (wrong) to 1 (right). `bounded` ones need no worker: see `in_process`."""

    bounded: ClassVar[bool] = False

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Plain settings from which `rewards.judges` makes the code in a worker."""

    @property
    def value_range(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return 0.0, 1.0

    def build(
        self,
        environment: Environment,
        limits: WorkerLimits = WorkerLimits(),  # noqa: B008
    ) -> WorkerSource | InProcessSource:
        """The live verifier: in this process if it is bounded, else in a fresh interpreter's workers."""
        if self.bounded and limits.in_process:
            return InProcessSource(self.settings()["kind"], make_check(self.settings()), limits)
        return WorkerSource(self.program(environment), limits, *self.value_range)

    def program(self, environment: Environment) -> Program | Judge:
        """Where a worker finds the code."""
        return Program(JUDGES, "make_judge", self.settings())


@dataclass(frozen=True)
class Exact(Verifier):
    """Right if the text is the answer, outer white space aside."""

    bounded: ClassVar[bool] = True
    ignore_case: bool = False

    def settings(self) -> Mapping[str, Any]:
        """See `judges.exact`."""
        return {"kind": "exact", "ignore_case": self.ignore_case}


@dataclass(frozen=True)
class Numeric(Verifier):
    """Right if the number that the text ends on differs from the answer by at most tolerance * max(1, |answer|).

    What can be read in two ways (`1,2`, `4 or 5`, `10-3`) is no number.
    """

    bounded: ClassVar[bool] = True
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        if not 0.0 <= self.tolerance < float("inf"):
            raise ValueError(f"Numeric.tolerance is {self.tolerance}: it must be 0 or above, and finite")

    def settings(self) -> Mapping[str, Any]:
        """See `judges.numeric`."""
        return {"kind": "numeric", "tolerance": self.tolerance}


def compiled(pattern: str, what: str) -> re.Pattern[str]:
    """The pattern, or a ValueError that names what is none."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        raise ValueError(f"{what} {pattern[:80]!r} is not a regular expression: {error}") from error


@dataclass(frozen=True)
class RegexExtract(Verifier):
    """What the last match of `pattern` holds (its first group, if any) goes to `then`; no match is a wrong answer."""

    pattern: str
    then: Verifier = field(default_factory=Exact)

    def __post_init__(self) -> None:
        compiled(self.pattern, "RegexExtract.pattern")
        if isinstance(self.then, EnvironmentScorer):
            raise ValueError(
                "RegexExtract.then must be Exact, Numeric or RegexExtract: environments extract on their own"
            )

    def settings(self) -> Mapping[str, Any]:
        """See `judges.regex`."""
        return {"kind": "regex", "pattern": self.pattern, "then": self.then.settings()}


@dataclass(frozen=True)
class EnvironmentScorer(Verifier):
    """The environment's own scorer: right at or above `threshold`; None keeps its raw partial credit."""

    threshold: float | None = CORRECT

    def settings(self) -> Mapping[str, Any]:
        """The part that does not depend on the environment."""
        return {"kind": "environment", "threshold": self.threshold}

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> WorkerSource:  # noqa: B008
        """The live scorer: by its address in a fresh interpreter, or, without an address, in forks of this process."""
        low, high = environment.reward_range if self.threshold is None else (0.0, 1.0)
        address = environment.scorer_address()
        if address is None:
            code: Program | Judge = Judge(environment.name, False, _Live(environment, self.threshold))
        else:
            where = {"module": address.module, "factory": address.factory, "settings": dict(address.settings)}
            code = Program(JUDGES, "make_judge", {**self.settings(), **where})
        return WorkerSource(code, limits, low, high, name=f"{environment.name} scorer")


def located(settings: Mapping[str, Any], field_name: str, then: Verifier, environment: Environment) -> Program | Judge:
    """The code of a verifier around another one; an environment's scorer by its address, or live where it has none."""
    inner = dict(then.settings())
    if isinstance(then, EnvironmentScorer):
        address = environment.scorer_address()
        if address is None:
            live = _Live(environment, then.threshold)
            check = make_check({**settings, field_name: {"kind": "live", "check": live.check}})
            return Judge(settings["kind"], False, lambda items: [check(items[0].task, items[0].text)])
        inner |= {"module": address.module, "factory": address.factory, "settings": dict(address.settings)}
    return Program(JUDGES, "make_judge", {**settings, field_name: inner})


@dataclass(frozen=True)
class Function(RewardConfig):
    """A user's function, by path (`file.py:function`) or as a live callable; see `rewards.functions` for signatures.

    `conversational` hands TRL functions lists of messages instead of strings. `kind` says for which library it was
    written (own, trl, verl, verl_batch, openrlhf, verifiers, verifiers_group, rubric, reasoning_gym); empty: its
    parameters tell. `needs` names the task fields that it may see (`answer`, `prompt`, `info.KEY`, …; `text`: none);
    the others do not travel to its worker. Empty: everything.
    """

    function: str | Callable[..., object]
    low: float = 0.0
    high: float = 1.0
    conversational: bool = False
    kind: str = ""
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"Function: low {self.low} is not below high {self.high}: declare the range of its values")
        read_needs(self.needs)
        if not isinstance(self.function, str):
            function_judge(self.function, self.conversational, self.kind)

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> WorkerSource:  # noqa: B008
        """A path runs in a fresh interpreter's workers; a callable in forks of this process as it is now."""
        if isinstance(self.function, str):
            settings = {"path": self.function, "conversational": self.conversational, "kind": self.kind}
            code: Program | Judge = Program("critica.rewards.functions", "make_function_judge", settings)
        else:
            code = function_judge(self.function, self.conversational, self.kind)
        return WorkerSource(code, limits, self.low, self.high, needs=read_needs(self.needs))


@dataclass(frozen=True, slots=True)
class _Live:
    """An environment's `score` on what travelled."""

    environment: Environment
    threshold: float | None

    def __call__(self, items: Sequence[Item]) -> list[float]:
        return [self.check(items[0].task, items[0].text)]

    def check(self, view: TaskView, text: str) -> float:
        """The score of one text."""
        messages = tuple(Message(**{**m, "tool_calls": tuple(m["tool_calls"])}) for m in view.messages)
        task = Task(view.task_id, view.environment, messages, view.answer, view.info, view.seed)
        return at_least(self.threshold, float(self.environment.score(task, text)))
