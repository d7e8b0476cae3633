"""A contender's half of the bench: wait for `go N`, do N units of work, answer with their seconds, wait again."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable


class Pace:
    """One JSON line per answer on the real stdout; whatever else the process prints is sent to stderr.

    `begin` waits for the first order. `tick(tokens)` ends a unit of work: after the last unit of an order it answers,
    then waits for the next one, with the clock stopped. The order `stop`, or a closed pipe, raises SystemExit.
    """

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._left = 0
        self._seconds: list[float] = []
        self._tokens: list[int] = []
        self._stages: dict[str, float] = {}
        self._since = 0.0

    def ready(self, **facts: object) -> None:
        """Say what is about to be measured: versions, parameters."""
        self._say({"ready": facts})

    def begin(self) -> None:
        """Wait for an order and start the clock."""
        order = sys.stdin.readline().split()
        if not order or order[0] != "go":
            raise SystemExit(0)
        self._left = int(order[1])
        self._seconds, self._tokens, self._stages = [], [], {}
        self._since = time.perf_counter()

    def tick(self, tokens: int, stages: Iterable[tuple[str, float]] = ()) -> None:
        """A unit is done; `tokens` were sampled in it, and of its seconds these went to named stages."""
        now = time.perf_counter()
        self._seconds.append(now - self._since)
        self._tokens.append(tokens)
        for stage, seconds in stages:
            self._stages[stage] = self._stages.get(stage, 0.0) + seconds
        self._left -= 1
        if self._left == 0:
            self._say({"seconds": self._seconds, "tokens": self._tokens, "stages": self._stages})
            self.begin()
        else:
            self._since = time.perf_counter()

    def serve(self, unit: Callable[[], int]) -> None:
        """Do `unit`, which returns its sampled tokens, as often as ordered."""
        self.begin()
        while True:
            self.tick(unit())

    def _say(self, content: object) -> None:
        self._out.write(json.dumps(content) + "\n")
        self._out.flush()
