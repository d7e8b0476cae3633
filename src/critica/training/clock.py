"""Seconds by stage, and what is going on right now. No part of a run's identity."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from critica.records.run import StageSeconds


class Clock:
    """Readings of the current step. `now` is read by the progress display, from its own thread."""

    def __init__(self) -> None:
        self._readings: list[StageSeconds] = []
        self._open: tuple[str, float] = ("", perf_counter())
        self.step = 0

    def begin(self, step: int) -> None:
        """A new step begins."""
        self._readings, self.step = [], step

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = perf_counter()
        self._open = (name, start)
        yield
        self._readings.append(StageSeconds(name, perf_counter() - start))
        self._open = ("", perf_counter())

    @property
    def readings(self) -> tuple[StageSeconds, ...]:
        """The stages of this step that are done."""
        return tuple(self._readings)

    @property
    def now(self) -> tuple[str, float]:
        """The stage that is going on and for how many seconds; an empty name between stages."""
        name, start = self._open
        return name, perf_counter() - start
