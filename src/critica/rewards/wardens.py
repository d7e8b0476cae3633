"""The warden of a reward worker: a small process that starts it, counts what it starts, and ends all of it.

Where the kernel allows, the worker is the first process of a process namespace: nothing it starts outlives it.
Elsewhere its orphans come back to the warden, which kills them, however they detached themselves. The warden also
ends when the nursery does. Imports no torch.
"""

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from critica.rewards import kernel

LOOK_SECONDS = 0.1  # how often processes are counted
KILL_ROUNDS = 200
TOO_MANY_PROCESSES = 78  # exit status: the worker was killed for what it had started


def guard(worker: Callable[[], NoReturn], own_pids: bool, processes: int, nursery: int, report: int) -> NoReturn:
    """In a fork of the nursery: run the worker in a fork of this one, then exit as the worker did.

    The worker's process number goes to the pipe `report`.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    os.setsid()  # out of the nursery's group: a kill of that group must leave the warden time to clean up
    kernel.die_with_parent(signal.SIGTERM)
    if os.getppid() != nursery:
        os._exit(0)
    if own_pids:
        kernel.unshare(kernel.NEW_PIDS)
    else:
        kernel.control(kernel.PR_SET_CHILD_SUBREAPER, 1)
    alive, mine = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(mine)
        os.close(report)
        _become_worker(alive, own_pids)
        worker()
    os.write(report, str(pid).encode())
    _close_all_but(mine)
    _exit_like(_watch(pid, processes))


def _become_worker(alive: int, own_pids: bool) -> None:
    os.setsid()  # its own process group: what it starts can be told from others
    kernel.die_with_parent(signal.SIGKILL)
    os.set_blocking(alive, False)
    with contextlib.suppress(BlockingIOError):
        os.read(alive, 1)  # ends at once, instead of having to wait, only if the warden is gone already
        os._exit(0)
    os.close(alive)
    if own_pids:
        with contextlib.suppress(OSError):  # /proc as this namespace sees it; refused in some containers
            kernel.unshare(kernel.NEW_MOUNTS)
            kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
            kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        # The first process of a namespace ignores signals that would end others, so this one ends it by a handler.
        library = ctypes.CDLL(None)
        library.signal(signal.SIGXCPU, library._exit)
    else:
        kernel.control(kernel.PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _close_all_but(kept: int) -> None:
    """The worker's socket above all: its closing must say that the worker is gone."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):  # the handle that listed them is among them
                os.close(int(name))


def _watch(pid: int, processes: int) -> int:
    """The wait status of the worker, once it is gone with everything it started."""
    killed = False
    status = -1
    while status < 0:
        arrived = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, LOOK_SECONDS)
        if arrived is not None and arrived.si_signo == signal.SIGTERM:
            os.kill(pid, signal.SIGKILL)
        elif not killed and len(descendants(pid)) > processes:
            killed = True
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == pid:
                    status = found[1]
    end_all(os.getpid())
    return TOO_MANY_PROCESSES << 8 if killed else status


def _exit_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)  # SIGKILL needs no such thing
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
        time.sleep(1.0)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def end_all(ancestor: int) -> None:
    """Kill and reap whatever descends from this process, which must be the one that asks; in rounds, since it forks."""
    for number in range(KILL_ROUNDS):
        found = descendants(ancestor)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGSTOP if number == 0 and len(found) > 8 else signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not found:
            return
        if number:
            time.sleep(0.002)


def descendants(ancestor: int) -> list[int]:
    """Every process that descends from this one, ended ones included until they are waited for."""
    parents = None if _kernel_lists_children() else parents_of_all()
    found, open_ends = [], [ancestor]
    while open_ends:
        pid = open_ends.pop()
        children = children_of(pid) if parents is None else [child for child, its in parents.items() if its == pid]
        found += children
        open_ends += children
    return found


def own_children() -> list[int]:
    """This process's children, by the numbers that its /proc gives them."""
    me = int(os.readlink("/proc/self"))
    if _kernel_lists_children():
        return children_of(me)
    return [child for child, its in parents_of_all().items() if its == me]


def children_of(pid: int) -> list[int]:
    """The children of one process, by the kernel's list of them."""
    children: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # it ended meanwhile
        for thread in os.listdir(f"/proc/{pid}/task"):
            children += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return children


def parents_of_all() -> dict[int, int]:
    """Who is whose child, over all processes: slower, for kernels that keep no lists of children."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return parents


def is_running(pid: int) -> bool:
    """Whether a process, by its number in this /proc, is there and not merely waiting to be waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _kernel_lists_children() -> bool:
    return os.path.exists(f"/proc/self/task/{os.readlink('/proc/self')}/children")
