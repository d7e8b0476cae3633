"""Is anybody else at work on these cores? Two threads beside one busy neighbor are slower than one thread alone."""

import os
import time
from pathlib import Path

WATCH_SECONDS = 0.2
BUSY = 0.4  # cores taken by others from which a second thread costs more than it brings


def others_busy_cores(seconds: float = WATCH_SECONDS, stat: Path = Path("/proc/stat")) -> float:
    """Cores that other processes kept busy while this one slept; 0 where the kernel does not tell."""
    try:
        before = busy_ticks(stat.read_text())
        start = time.monotonic()
        time.sleep(seconds)
        ticks = busy_ticks(stat.read_text()) - before
    except (OSError, ValueError):
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK") / (time.monotonic() - start)


def busy_ticks(text: str) -> int:
    """Clock ticks of all cores spent on anything but idling and waiting for disks: line one of /proc/stat."""
    name, user, nice, system, _idle, _wait, *rest = text.splitlines()[0].split()
    if name != "cpu":
        raise ValueError(f"/proc/stat begins with {name!r}, not with 'cpu'")
    return int(user) + int(nice) + int(system) + sum(map(int, rest[:3]))


def contention_warning(threads: int, busy: float, cores: int) -> str:
    """What to do about it; empty when there is room for every thread."""
    if busy < BUSY or threads + busy <= cores:
        return ""
    fewer = max(1, int(cores - busy))
    wants = f"{threads} threads" if threads > 1 else "a thread"
    way_out = "stop them, or wait" if fewer >= threads else (
        f"stop them, or start with --set threads={fewer} (threads are part of what makes two runs equal, so they are"
        " never changed for you)"
    )  # fmt: skip
    return (
        f"warning: other processes keep {busy:.1f} of {cores} cores busy, and this run wants {wants}: it may be several"
        f" times slower; {way_out}"
    )
