"""A hand on the decoder with a memory of its own: what it may know, when it is asked, and what it reports."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from critica.critics.base import ValueCritic
from critica.critics.targets import TargetRule
from critica.policies.base import DecodeHand, Policy
from critica.records.arrays import Metric
from critica.records.supervision import Reward
from critica.records.words import Trajectory

Stream = tuple[int, ...]  # what identifies a sample's random numbers: (step, slot, index)


@dataclass(frozen=True, slots=True)
class ControlContext:
    """What a control may lean on when it is built."""

    critic: ValueCritic
    seed: int
    policy: Policy


class ControlPart(ABC):
    """A control's configuration: a frozen dataclass; `build` gives the live control."""

    @abstractmethod
    def build(self, context: ControlContext) -> "Control": ...

    def lowest(self, low: float) -> float:
        """The lowest outcome that training may be told, when the source's own is `low`."""
        return low

    def check(self, target: TargetRule) -> None:
        """Raise ValueError, with the way out, if rows written like this cannot teach a critic these targets."""
        return None


class Control(ABC):
    """A live control. Its memory changes between steps only: while a step's rows decode, it is frozen."""

    @property
    @abstractmethod
    def failure(self) -> float:
        """The outcome of a row that was stopped: it is told this, and no source is asked."""

    @abstractmethod
    def begin(self, step: int, streams: Sequence[Stream], temperature: float) -> DecodeHand | None:
        """The control of one call of the decoder, whose rows have these streams; None leaves it alone."""

    def evaluating(self, streams: Sequence[Stream], temperature: float) -> DecodeHand | None:
        """The control of one call of the decoder outside of training; None: an answer is the policy's own."""
        return None

    @abstractmethod
    def close(self, trajectories: Sequence[Trajectory], rewards: Sequence[Reward]) -> tuple[Metric, ...]:
        """The step was gathered: learn from it what the next one shall be decided by, and report."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]: ...

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class NoControl(ControlPart):
    """Every answer is written to its end."""

    def build(self, context: ControlContext) -> Control:
        return Unhindered()


class Unhindered(Control):
    """Does nothing and knows nothing."""

    @property
    def failure(self) -> float:
        raise AssertionError("no row is ever stopped here")

    def begin(self, step: int, streams: Sequence[Stream], temperature: float) -> DecodeHand | None:
        return None

    def close(self, trajectories: Sequence[Trajectory], rewards: Sequence[Reward]) -> tuple[Metric, ...]:
        return ()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None
