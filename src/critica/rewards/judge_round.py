"""One round of questions to a judge: begun as they come, a few at a time, and waited for together."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Reply = TypeVar("Reply")


class Round(Generic[Asked, Reply]):
    """Questions by key, each asked once, `concurrency` at a time, by threads that end when nothing waits.

    `answer(key, question, left)` asks; `left()` says how many seconds the round still has. It has no end until
    `collect` sets one: what was begun before has all of the round's time from then on.
    """

    def __init__(self, answer: Callable[[str, Asked, Callable[[], float]], Reply], concurrency: int) -> None:
        self._answer, self._concurrency = answer, concurrency
        self._waiting: deque[tuple[str, Asked]] = deque()
        self._begun: set[str] = set()
        self._found: dict[str, Reply] = {}
        self._changed = threading.Condition()
        self._threads = 0
        self._end = math.inf
        self._wanted: frozenset[str] = frozenset()

    @property
    def open(self) -> int:
        """How many answers `collect` waits for."""
        return len(self._wanted - self._found.keys())

    def left(self) -> float:
        """Seconds until the end, below 0 after it."""
        return self._end - time.monotonic()

    def begin(self, questions: Mapping[str, Asked]) -> None:
        """Ask those that were not begun yet, in this order, and return at once."""
        with self._changed:
            fresh = [(key, question) for key, question in questions.items() if key not in self._begun]
            self._begun |= {key for key, _ in fresh}
            self._waiting += fresh
            more = min(self._concurrency - self._threads, len(self._waiting))
            self._threads += more
        for _ in range(more):
            threading.Thread(target=self._work, daemon=True).start()

    def collect(self, questions: Mapping[str, Asked], seconds: float) -> dict[str, Reply]:
        """The replies that are there within so many seconds; what then still waits is not asked any more."""
        self._end = time.monotonic() + seconds
        self._wanted = frozenset(questions)
        self.begin(questions)
        with self._changed:
            self._changed.wait_for(lambda: not self.open, max(0.0, self.left()))
            self._wanted = frozenset()
            self._waiting.clear()
            return {key: self._found[key] for key in questions if key in self._found}

    def stop(self) -> None:
        """Begin nothing any more."""
        with self._changed:
            self._end = -math.inf
            self._waiting.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting or self.left() <= 0:
                    self._threads -= 1
                    return
                key, question = self._waiting.popleft()
            reply = self._answer(key, question, self.left)
            with self._changed:
                self._found[key] = reply
                self._changed.notify_all()
