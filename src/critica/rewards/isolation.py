"""What keeps reward code away from the rest of the machine, as far as this kernel allows; what is missing has a name.

A nursery leaves the network once, before it loads the code. Two ways, the first that works: a network namespace (as
root directly, else inside a user namespace), or a system call filter that refuses sockets. Imports no torch.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from critica.rewards import kernel
from critica.rewards.filters import network_filter

NO_NETWORK = "reward code can reach the network"
NO_PROCESS_NAMESPACE = "reward workers share the machine's process numbers"
NO_FILTER = "no system call filter: programs could start processes and use the network"
NO_WALLS = "neither mount namespaces nor Landlock: programs could read this user's files"
ADVICE = {
    NO_FILTER: "use a kernel with seccomp filters, on x86-64 or 64-bit ARM",
    NO_WALLS: "use a kernel with Landlock (5.13 or newer), or allow user namespaces",
    NO_NETWORK: "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, and on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0; in Docker --security-opt seccomp=unconfined), "
    "or a kernel with seccomp filters",
    NO_PROCESS_NAMESPACE: "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1; in Docker --security-opt "
    "seccomp=unconfined), or run as root with CAP_SYS_ADMIN; without "
    "them what reward code starts is still found and killed, unless it kills its watcher",
}


@dataclass(frozen=True, slots=True)
class Isolation:
    """What holds (`applied`) and what does not (`missing`), each in a few words."""

    applied: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    own_users: bool = False
    own_pids: bool = False

    @property
    def warning(self) -> str:
        """One sentence about what is missing and how to get it; empty if nothing is."""
        if not self.missing:
            return ""
        end = f". To fix it: {self.fix}" if self.fix else ""
        return f"isolation is incomplete here: {', '.join(self.missing)}{end}"

    @property
    def fix(self) -> str:
        """How to get what is missing."""
        return "; ".join(ADVICE[name] for name in self.missing if name in ADVICE)


def leave_network_and_users(network: bool) -> Isolation:
    """Isolate this process, single-threaded, and all it will start. Never raises: what failed is in `missing`."""
    if not os.path.isdir("/proc/self/ns"):
        return Isolation(missing=(NO_PROCESS_NAMESPACE,) if network else (NO_NETWORK, NO_PROCESS_NAMESPACE))
    applied: list[str] = []
    missing: list[str] = []
    own_users = False
    spaces = 0 if network else kernel.NEW_NETWORK | kernel.NEW_IPC
    if spaces and _works(lambda: kernel.unshare(spaces)):
        applied.append("network namespace")
    elif not _may_make_pids() and _works_apart(lambda: kernel.enter_users(spaces)):
        kernel.enter_users(spaces)
        own_users = True
        applied += ["user namespace", *(["network namespace"] if spaces else [])]
    elif spaces and _works(lambda: kernel.install_filter(network_filter())):
        applied.append("socket filter")
    elif spaces:
        missing.append(NO_NETWORK)
    own_pids = _may_make_pids()
    (applied if own_pids else missing).append("process namespaces" if own_pids else NO_PROCESS_NAMESPACE)
    return Isolation(tuple(applied), tuple(missing), own_users, own_pids)


def _works(step: Callable[[], None]) -> bool:
    try:
        step()
    except OSError:
        return False
    return True


def _works_apart(step: Callable[[], None]) -> bool:
    """Whether a step would work, tried where half of it can do no harm."""

    def attempt() -> int:
        step()
        return 0

    return in_child(attempt) == 0


def _may_make_pids() -> bool:
    """Whether a child could make a process namespace and start a process in it. Tried, since only trying tells."""
    return in_child(_try_pids) == 0


def _try_pids() -> int:
    kernel.unshare(kernel.NEW_PIDS)
    return in_child(lambda: 0 if os.getpid() == 1 else 1)


def in_child(step: Callable[[], int]) -> int:
    """The exit status of a fork that runs this step; an OSError gives its number."""
    pid = os.fork()
    if pid == 0:
        status = errno.EIO
        try:
            status = step()
        except OSError as error:
            status = error.errno or errno.EIO
        finally:
            os._exit(status & 0xFF)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)
