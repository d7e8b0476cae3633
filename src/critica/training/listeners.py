"""Who else is told of a run: functions of the user's own, and trackers. They look on; they change nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from critica.records.run import StepRecord
from critica.training.progress import Reporter

Notify = Callable[[str], None]


@runtime_checkable
class Listener(Protocol):
    """Told where a run is and what it is made of, then of every finished step, then of its end."""

    def begin(self, run: Path, recipe: str, config: dict[str, Any], done: int) -> None: ...

    def step(self, record: StepRecord) -> None: ...

    def close(self) -> None: ...


class Called:
    """A function that is called with every finished step."""

    def __init__(self, function: Callable[[StepRecord], object]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def begin(self, run: Path, recipe: str, config: dict[str, Any], done: int) -> None:
        return None

    def step(self, record: StepRecord) -> None:
        self.function(record)

    def close(self) -> None:
        return None


def listener_of(given: object) -> Listener:
    """A listener as it is, a function as one. Raises TypeError for what is neither."""
    if isinstance(given, Listener):
        return given
    if callable(given):
        return Called(given)
    raise TypeError(f"{given!r} can listen to nothing: give a function of a StepRecord, or begin, step and close")


class Overheard:
    """A reporter whose every word reaches the listeners too.

    A listener that raises is named once, with its error, and not told anything more: a tracker that is away must not
    end a run that has gone on for days.
    """

    def __init__(self, reporter: Reporter, listeners: Sequence[Listener], notify: Notify) -> None:
        self.reporter, self.listeners, self.notify = reporter, list(listeners), notify

    def begin(self, run: Path, recipe: str, config: dict[str, Any], done: int) -> None:
        """Where the run is, its recipe's name and tables, and how many steps were done before."""
        self._tell(lambda one: one.begin(run, recipe, config, done))

    def step(self, record: StepRecord) -> None:
        self.reporter.step(record)
        self._tell(lambda one: one.step(record))

    def watch(self, activity: Callable[[], str]) -> None:
        self.reporter.watch(activity)

    def close(self) -> None:
        self.reporter.close()
        self._tell(lambda one: one.close())

    def _tell(self, act: Callable[[Listener], None]) -> None:
        for one in tuple(self.listeners):
            try:
                act(one)
            except Exception as error:
                self.listeners.remove(one)
                name = getattr(one, "name", type(one).__name__)
                self.notify(f"{name} failed and is told nothing more of this run: {type(error).__name__}: {error}")
