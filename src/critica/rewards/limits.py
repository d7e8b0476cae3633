"""Resource limits that a reward worker sets on itself. Imports no torch."""

import os
import resource
import sys
from pathlib import Path

from critica.rewards.wire import JsonObject

MIB = 2**20
OPEN_FILES = 1024  # beyond what a fork of the training process has open already
SPARE_THREADS = 256  # the kernel counts threads, too; the warden counts processes


def limit_worker(limits: JsonObject, own_users: bool) -> None:
    """No core dumps; bounds on memory (beyond what is mapped now: a fork inherits it), files and processes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tighten(resource.RLIMIT_FSIZE, limits["file_mib"] * MIB)
    tighten(resource.RLIMIT_NOFILE, OPEN_FILES + max(map(int, os.listdir("/dev/fd")), default=0))
    if sys.platform == "linux":
        tighten(resource.RLIMIT_AS, mapped_bytes() + limits["memory_mib"] * MIB)
        # Binds every user but root, whose processes only the warden counts. In a user namespace of our own the kernel
        # counts afresh (since 5.14); elsewhere what this user runs already counts, too.
        running = 0 if own_users and counts_by_namespace() else threads_of(os.getuid())
        tighten(resource.RLIMIT_NPROC, running + limits["processes"] + SPARE_THREADS)


def tighten(kind: int, soft: int) -> None:
    """Lower a soft limit; it can be moved again below the hard one, which stays."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def mapped_bytes() -> int:
    """This process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def resident_bytes() -> int:
    """This process's memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def counts_by_namespace() -> bool:
    """Whether the process limit counts per user namespace."""
    words = os.uname().release.split(".")
    return words[0].isdigit() and words[1].isdigit() and (int(words[0]), int(words[1])) >= (5, 14)


def threads_of(uid: int) -> int:
    """How many threads a user runs."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue  # it ended meanwhile
    return count
