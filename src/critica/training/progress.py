"""What a person sees while a run goes: a live line on a terminal, a plain line now and then elsewhere."""

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from critica.records.run import StepRecord
from critica.training.sample_table import sample_table

ALIKE_STEPS = 3  # so many first steps without a difference between answers are worth a word
LIVE_PATIENCE, LOG_PATIENCE = 2.0, 30.0  # seconds without a word before a long step is explained
LIVE_PAUSE, LOG_PAUSE = 0.2, 5.0  # seconds between two lines, at least
QUIETEST, QUIETER = 60.0, 100  # a log's pause grows to a hundredth of the time that has passed, up to a minute
SAMPLES_EVERY = 20  # steps between two tables of answers on a terminal


@runtime_checkable
class Stream(Protocol):
    """Where lines are written."""

    def write(self, text: str, /) -> int: ...

    def flush(self) -> None: ...

    def isatty(self) -> bool: ...


@runtime_checkable
class Reporter(Protocol):
    """Is told of every finished step."""

    def step(self, record: StepRecord) -> None: ...

    def watch(self, activity: Callable[[], str]) -> None: ...

    def close(self) -> None: ...


class Silent:
    """Says nothing."""

    def step(self, record: StepRecord) -> None:
        return None

    def watch(self, activity: Callable[[], str]) -> None:
        return None

    def close(self) -> None:
        return None


def describe(values: Mapping[str, float]) -> str:
    """The step in one line: what was told and what is true, how the policy moves, what the critic knows."""
    shown = (
        ("told", "reward/told", "{:.3f}"),
        ("clean", "reward/clean", "{:.3f}"),
        ("acc", "accuracy/sampled", "{:.3f}"),
        ("kl", "policy/kl_reference" if "policy/kl_reference" in values else "policy/kl_behavior", "{:.4f}"),
        ("entropy", "policy/entropy", "{:.3f}"),
        ("ev", "critic/explained_variance", "{:+.2f}"),
        ("len", "length/mean", "{:.0f}"),
    )
    said = [f"{label} {form.format(values[name])}" for label, name, form in shown if finite(values, name)]
    return "  ".join(said).replace("-0.0000", "0.0000")


def finite(values: Mapping[str, float], name: str) -> bool:
    """Whether this was measured and is a number."""
    return name in values and math.isfinite(values[name])


class Lines:
    """Step, ETA, and `describe`, on one rewritten line (terminal) or every `seconds` seconds (log).

    A step that takes long is explained meanwhile: what is going on or waited for, and how long it may take. A log
    becomes quieter as a run gets longer. `samples_every` steps a few answers are shown (0: never; by default every 20
    on a terminal, never in a log).
    """

    def __init__(
        self,
        steps: int,
        done: int,
        stream: Stream | None = None,
        seconds: float = LOG_PAUSE,
        samples_every: int | None = None,
    ) -> None:
        self.steps, self.first, self.stream = steps, done, stream or sys.stderr
        self.live = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.samples_every = (SAMPLES_EVERY if self.live else 0) if samples_every is None else samples_every
        self.pause = LIVE_PAUSE if self.live else seconds
        self.start = time.monotonic()
        self.spoke = self.start
        self._begun = False
        self._alike = 0
        self.tokens = 0.0
        self._done = threading.Event()
        self._watcher: threading.Thread | None = None

    def watch(self, activity: Callable[[], str]) -> None:
        """Say what `activity` gives whenever nothing was said for a while."""
        patience = LIVE_PATIENCE if self.live else LOG_PATIENCE
        self.spoke = time.monotonic()

        def look() -> None:
            while not self._done.wait(patience / 4):
                said = activity()
                if said and time.monotonic() - self.spoke >= patience:
                    self._say(said)

        self._watcher = threading.Thread(target=look, name="progress", daemon=True)
        self._watcher.start()

    def step(self, record: StepRecord) -> None:
        """Say where the run is, if it is time to."""
        values = {metric.name: metric.value for metric in record.metrics}
        self.tokens += sum(metric.total for metric in record.metrics if metric.name == "tokens/sampled")
        self._warn(record.step, values)
        now = time.monotonic()
        # A clock that stood still or went back may spoil an estimate, never a run.
        spent, made = max(now - self.start, 1e-3), record.step - self.first
        pause = self.pause if self.live or spent < QUIETER * LOG_PAUSE else min(spent / QUIETER, QUIETEST)
        shows = self.samples_every > 0 and record.step % self.samples_every == 0
        if self._begun and now - self.spoke < pause and record.step < self.steps and not shows:
            return
        self._begun = True
        if shows:
            self._say(sample_table(record) + ("\n" if self.live else ""))
        left = spent / max(made, 1) * (self.steps - record.step)
        line = (
            f"step {record.step}/{self.steps}  eta {clock(left)}  {describe(values)}  {self.tokens / spent:,.0f} tok/s"
        )
        self._say(line)

    def _warn(self, step: int, values: Mapping[str, float]) -> None:
        """Say once, early, that all answers of every step so far were told the same: nothing can be learned from it."""
        self._alike += values.get("reward/told_std") == 0
        if self._alike == step == ALIKE_STEPS < self.steps:
            told = f"{values.get('reward/told', math.nan):.3f}"
            self._say(
                f"warning: every answer of the first {step} steps was told {told}: where no two are told apart there is"
                " nothing to learn from; ask easier tasks, or train a policy that succeeds now and then"
                + ("\n" if self.live else "")
            )

    def _say(self, line: str) -> None:
        self.spoke = time.monotonic()
        self.stream.write(f"\r\033[K{line}" if self.live else line + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Leave the last live line standing."""
        self._done.set()
        if self._watcher is not None:
            self._watcher.join(1.0)
        if self.live:
            self.stream.write("\n")
            self.stream.flush()


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
