"""Ctrl-C, told once: stop after this step with a checkpoint; told twice: stop at once."""

import signal
import sys
from types import FrameType


class Interrupt:
    """While entered, SIGINT and SIGTERM set `asked`; a second SIGINT raises KeyboardInterrupt where it strikes."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interrupt":
        for name in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[name] = signal.signal(name, self._receive)
            except ValueError:  # only the main thread may install handlers; elsewhere the caller keeps its own
                break
        return self

    def __exit__(self, *exc: object) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)  # type: ignore[arg-type]

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this step, with a checkpoint; press Ctrl-C again to stop at once", file=sys.stderr)
