"""Who else was busy: the cores that processes outside the contender's tree used while it was measured (Linux)."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal of a cpu line; idle and iowait are not busy
QUIET_CORES = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds used so far, by the whole machine and by one tree of processes."""

    machine: float
    tree: float


def usage(root: int) -> Usage:
    """Now. `root`'s children are counted too, those that have ended included."""
    tick = os.sysconf("SC_CLK_TCK")
    return Usage(machine_ticks((PROC / "stat").read_text()) / tick, sum(map(process_ticks, tree(root))) / tick)


def others(before: Usage, after: Usage, seconds: float) -> float:
    """Cores that others used on average between two usages, never below 0."""
    used = (after.machine - before.machine) - (after.tree - before.tree)
    return max(0.0, used / max(seconds, 1e-9))


def machine_ticks(stat: str) -> int:
    """Busy clock ticks of all cores together, from /proc/stat."""
    fields = next(line for line in stat.splitlines() if line.startswith("cpu ")).split()[1:]
    return sum(int(fields[i]) for i in BUSY)


def process_ticks(pid: int) -> int:
    """Clock ticks of a process and of its children that have ended; 0 if it is gone."""
    fields = _stat(pid)
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) if fields else 0


def peak_mib(root: int) -> float:
    """The peak resident memory of every process of the tree, added up."""
    total = 0.0
    for pid in tree(root):
        try:
            lines = (PROC / str(pid) / "status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    return total


def tree(root: int) -> list[int]:
    """This process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, at = [root], 0
    while at < len(found):
        found += children.get(found[at], [])
        at += 1
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold blanks; state first."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
