"""Walls around programs that nobody vouches for: which of them this kernel gives, and how they are raised.

The strongest that works without privileges: a root folder that holds Python's library and nothing else (user and mount
namespaces), Landlock rules to the same effect, a system call filter without processes, sockets and signals, a process
namespace, another user for root. Either of the first two hides the files; the filter is indispensable. No torch here.
"""

import os
import resource
import signal
import socket
import sys
import sysconfig
from dataclasses import dataclass

from critica.rewards import kernel
from critica.rewards.filters import program_filter
from critica.rewards.isolation import NO_FILTER, NO_WALLS, in_child
from critica.rewards.limits import MIB

SCRATCH = "/scratch"
STAGE = "/proc"  # always there, and holds nothing that a program needs
NOBODY = 65534
OPEN_FILES = 64
THREADS = 64
SCRATCH_FILES = 256
STACK_MIB = 64
NO_SCRATCH = "no mount namespace: programs have no scratch folder and cannot write files"
NO_PIDS = "no process namespace: programs are kept from others by the filter alone"
ONE_USER = "programs run as root without its powers: their threads are bounded by memory alone"
LOCKED_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC  # a mount's own, which a user may not take away


@dataclass(frozen=True, slots=True)
class Shelter:
    """Which walls there are. `missing` makes a machine unfit for hostile programs; `reduced` only takes from them."""

    root: bool = False
    filtered: bool = False
    landlock: int = 0
    own_pids: bool = False
    other_user: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Protections without which a hostile program could do harm."""
        return (*(() if self.filtered else (NO_FILTER,)), *(() if self.root or self.landlock else (NO_WALLS,)))

    @property
    def walls(self) -> tuple[str, ...]:
        """The walls that stand."""
        names = (
            (self.root, "a root folder of its own"), (self.landlock, f"Landlock {self.landlock}"),
            (self.filtered, "a system call filter"), (self.own_pids, "a process namespace"),
            (self.other_user, "another user"),
        )  # fmt: skip
        return tuple(name for there, name in names if there)

    @property
    def reduced(self) -> tuple[str, ...]:
        """Second walls that are not there, and what programs must do without."""
        alone = os.getuid() == 0 and not self.other_user
        names = ((self.root, NO_SCRATCH), (self.own_pids, NO_PIDS), (not alone, ONE_USER))
        return tuple(name for there, name in names if not there)


@dataclass(frozen=True, slots=True)
class ProgramLimits:
    """What one program may use."""

    memory_mib: int
    cpu_seconds: int
    mapped_bytes: int  # the address space that every program starts with: there is no /proc to ask inside
    threads: int
    scratch_mib: int = 16


def raise_walls() -> Shelter:
    """Isolate this process, single-threaded, as far as all programs share it. What fails is left out."""
    root = in_child(_try_root) == 0
    if root:
        _leave_root()
    return Shelter(
        root=root,
        filtered=in_child(_try_filter) == 0,
        landlock=_landlock_version(root),
        own_pids=root and in_child(_try_pids) == 0,
        other_user=os.getuid() == 0 and in_child(_try_other_user) == 0,
    )


def enclose(shelter: Shelter, limits: ProgramLimits) -> None:
    """The last walls around one program, in its own process. Raises OSError if one that was promised does not stand."""
    if shelter.root:
        kernel.unshare(kernel.NEW_MOUNTS)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount("none", SCRATCH, "tmpfs", flags, f"size={limits.scratch_mib}m,nr_inodes={SCRATCH_FILES},mode=777")
        os.chdir(SCRATCH)
    else:
        os.chdir("/")
    if shelter.other_user:
        _become_nobody()
    kernel.drop_capabilities()
    kernel.die_with_parent(signal.SIGKILL)
    _limit(limits)
    if shelter.landlock:
        readable = tuple(path for path in readable_paths() if os.path.exists(path))
        kernel.landlock(shelter.landlock, readable, (SCRATCH,) if shelter.root else ())
    if shelter.filtered:
        kernel.install_filter(program_filter(os.getpid(), may_write=shelter.root))


def readable_paths() -> tuple[str, ...]:
    """Python's library, the shared libraries that its modules load, and a few harmless files."""
    library = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    pair = sysconfig.get_config_var("MULTIARCH") or ""
    shared = [f"{top}/{pair}" for top in ("/lib", "/usr/lib") if pair and os.path.isdir(f"{top}/{pair}")]
    shared = shared or ["/lib", "/usr/lib"]
    own = [f"{sys.base_prefix}/lib"] if os.path.isdir(f"{sys.base_prefix}/conda-meta") else []
    others = ["/lib64", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
    return (*sorted(library), *shared, *own, *others, "/dev/null", "/dev/zero", "/dev/urandom")


def _limit(limits: ProgramLimits) -> None:
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.mapped_bytes + limits.memory_mib * MIB),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.scratch_mib * MIB),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, limits.threads),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_STACK, STACK_MIB * MIB),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _try_root() -> int:
    _leave_root()
    kernel.unshare(kernel.NEW_MOUNTS)
    kernel.mount("none", SCRATCH, "tmpfs", kernel.MS_NOSUID, "size=1m")
    return 0


def _leave_root() -> None:
    """New users, mounts and message queues; a root folder with what programs may read, and nothing else."""
    if os.getuid() == 0:
        _enter_users_as_root(kernel.NEW_MOUNTS | kernel.NEW_IPC)
    else:
        kernel.enter_users(kernel.NEW_MOUNTS | kernel.NEW_IPC)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("none", STAGE, "tmpfs", kernel.MS_NOSUID, "size=1m,mode=755")
    for path in readable_paths():
        if os.path.exists(path):
            _bind(path, STAGE + path)
    os.mkdir(STAGE + SCRATCH)
    os.chmod(STAGE + SCRATCH, 0o755)
    kernel.mount("none", STAGE, "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID)
    kernel.change_root(STAGE)


def _bind(path: str, target: str) -> None:
    if os.path.isdir(path):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(path, target, "", kernel.MS_BIND | kernel.MS_REC)
    kept = os.statvfs(target).f_flag & LOCKED_FLAGS
    kernel.mount("none", target, "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kept)


def _enter_users_as_root(flags: int) -> None:
    """Two users: root, and nobody, whom programs become. Only a process outside may write such maps, so one helps."""
    ours, theirs = socket.socketpair()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            ours.close()
            folder = socket.recv_fds(theirs, 1, 1)[1][0]
            os.fchdir(folder)
            both = f"0 0 1\n{NOBODY} {NOBODY} 1"
            kernel.write_maps(".", both, both, deny_groups=False)
            status = 0
        finally:
            os._exit(status)
    with ours:
        theirs.close()
        try:
            kernel.unshare(kernel.NEW_USERS | flags)
            folder = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
            socket.send_fds(ours, [b"m"], [folder])
            os.close(folder)
        finally:
            ours.shutdown(socket.SHUT_WR)
            status = os.waitpid(helper, 0)[1]
    if status:
        raise PermissionError("the maps of a user namespace could not be written")


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _try_other_user() -> int:
    _become_nobody()
    with open(os.__file__) as file:  # a Python under root's home cannot be read by others
        file.read(1)
    return 0


def _try_filter() -> int:
    kernel.install_filter(program_filter(os.getpid(), may_write=False))
    try:
        os.fork()
    except PermissionError:
        return 0
    return 1


def _try_pids() -> int:
    kernel.unshare(kernel.NEW_PIDS)
    return in_child(lambda: 0 if os.getpid() == 1 else 1)


def _landlock_version(root: bool) -> int:
    version = kernel.landlock_version()
    readable = tuple(path for path in readable_paths() if os.path.exists(path))

    def attempt() -> int:
        kernel.landlock(version, readable, (SCRATCH,) if root else ())
        try:
            os.listdir("/")
        except PermissionError:
            return 0
        return 1

    return version if version and in_child(attempt) == 0 else 0
