"""What Linux offers for isolation, called directly: namespaces, capabilities, Landlock, system call filters.

Each function raises OSError where the kernel or a container refuses. Imports no torch.
"""

import ctypes
import os
import struct
import sys

from critica.rewards.calls import NUMBERS, machine

NEW_MOUNTS, NEW_IPC, NEW_USERS, NEW_PIDS, NEW_NETWORK = 0x20000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_PRIVATE, MS_SLAVE, DETACH = 1 << 18, 1 << 19, 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION = 0x20080522
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # the same numbers on every processor
READ_FILE, READ_FOLDER, TRUNCATE = 1 << 2, 1 << 3, 1 << 14
FILE_ACCESS = (1 << 0) | (1 << 1) | READ_FILE | TRUNCATE | (1 << 15)  # what a rule on a single file may name
NETWORK_SINCE, SCOPES_SINCE = 4, 6
BITS_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}  # file-system accesses known to each Landlock version; 16 since 5


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces that the flags name for new ones."""
    _checked(_library().unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    words = (source.encode(), target.encode(), kind.encode() or None)
    _checked(_library().mount(*words, ctypes.c_ulong(flags), data.encode() or None), f"mount {kind or source}")


def change_root(folder: str) -> None:
    """Make `folder`, a mount point, the root, and forget the old root."""
    os.chdir(folder)
    library = _library()
    number = NUMBERS[machine()]["pivot_root"]
    _checked(library.syscall(number, b".", b"."), "pivot_root")
    _checked(library.umount2(b".", DETACH), "umount")
    os.chdir("/")


def control(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    _checked(_library().prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl {option}")


def die_with_parent(number: int) -> None:
    """This signal arrives when the parent ends."""
    if sys.platform == "linux":
        control(PR_SET_PDEATHSIG, number)


def drop_capabilities() -> None:
    """Give up every capability, for good: no program that is started later brings one back."""
    control(PR_SET_NO_NEW_PRIVS, 1)
    header = struct.pack("Ii", CAPABILITY_VERSION, 0)
    _checked(_library().capset(header, struct.pack("6I", 0, 0, 0, 0, 0, 0)), "capset")


def install_filter(instructions: bytes) -> None:
    """Add a system call filter to this process and all it starts."""
    control(PR_SET_NO_NEW_PRIVS, 1)
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("HxxxxxxP", len(instructions) // 8, ctypes.addressof(buffer))
    zero = ctypes.c_ulong(0)
    mode = ctypes.c_ulong(SECCOMP_MODE_FILTER)
    _checked(_library().prctl(PR_SET_SECCOMP, mode, program, zero, zero), "seccomp")


def landlock_version() -> int:
    """Which Landlock the kernel has; 0 for none."""
    found = _library().syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    return max(0, found)


def landlock(version: int, readable: tuple[str, ...], writable: tuple[str, ...]) -> None:
    """From now on only these files and folders can be read, or read and written; no TCP, no signals out of here."""
    every = (1 << BITS_BY_VERSION.get(version, 16)) - 1
    reading = READ_FILE | READ_FOLDER
    size = 8 if version < NETWORK_SINCE else 16 if version < SCOPES_SINCE else 24
    rules = struct.pack("QQQ", every, 3, 3)[:size]
    library = _library()
    ruleset = _checked(library.syscall(LANDLOCK_CREATE, rules, ctypes.c_size_t(size), 0), "landlock")
    try:
        for path, access in [(path, reading) for path in readable] + [(path, every) for path in writable]:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                allowed = access if os.path.isdir(path) else access & FILE_ACCESS & every
                rule = struct.pack("=Qi", allowed, place)
                _checked(library.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0), f"landlock {path}")
            finally:
                os.close(place)
        control(PR_SET_NO_NEW_PRIVS, 1)
        _checked(library.syscall(LANDLOCK_RESTRICT, ruleset, 0), "landlock")
    finally:
        os.close(ruleset)


def write_maps(folder: str, users: str, groups: str, deny_groups: bool) -> None:
    """Write a user namespace's maps under a process's folder in /proc."""
    if deny_groups:
        _write(f"{folder}/setgroups", "deny")
    _write(f"{folder}/uid_map", users)
    _write(f"{folder}/gid_map", groups)


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def enter_users(flags: int) -> None:
    """A user namespace of one's own, where this user and group keep their numbers, and what the flags name."""
    uid, gid = os.getuid(), os.getgid()
    control(PR_SET_DUMPABLE, 1)  # a process that gave up root may not write its own maps otherwise
    unshare(NEW_USERS | flags)
    write_maps("/proc/self", f"{uid} {uid} 1", f"{gid} {gid} 1", deny_groups=True)
