"""Whether a reward worker is as good as new: it has not grown, and nothing it started is left. Imports no torch."""

import os
import resource

from critica.rewards.limits import MIB, resident_bytes
from critica.rewards.wardens import is_running, own_children

GROWTH_SHARE = 0.5  # of the memory a worker is allowed; past it another takes over before a call runs out
DEAD_CHILDREN = 32  # ended but never waited for: they take up process numbers


class Fitness:
    """Compares a worker with what it was when this was made."""

    def __init__(self, memory_mib: int) -> None:
        self._pages = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)  # kept open: read again and again
        self._page_bytes = resource.getpagesize()
        self._limit = self._resident_bytes() + int(GROWTH_SHARE * memory_mib * MIB)
        self._children = frozenset(own_children())

    def reason(self) -> str:
        """Why the worker should be replaced; empty if it should not."""
        if self._resident_bytes() > self._limit:
            return "its memory has grown"
        return "it left processes behind" if self._leftovers() else ""

    def _resident_bytes(self) -> int:
        try:
            return int(os.pread(self._pages, 100, 0).split()[1]) * self._page_bytes
        except (OSError, IndexError, ValueError):  # reward code may have closed it or put another file in its place
            return resident_bytes()

    def _leftovers(self) -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False  # the cheap and usual answer: no child at all
        strangers = set(own_children()) - self._children
        return len(strangers) > DEAD_CHILDREN or any(map(is_running, strangers))
