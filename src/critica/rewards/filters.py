"""System call filters (seccomp-BPF): one leaves a process no network, another leaves a program almost nothing.

A filter is a list of instructions that the kernel runs on each system call's number and arguments. It needs no
privileges, binds whatever the process starts, and cannot be removed. Raises `NoFilter` on a processor whose call
numbers are not known here. Imports no torch.
"""

import errno
import os
import struct
from collections.abc import Iterable

from critica.rewards.calls import AUDIT_ARCHITECTURE, CHANGES, GUARDED, NUMBERS, machine

LOAD, EQUAL, AT_LEAST, HAS_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
FOREIGN_NUMBERS = 0x40000000  # x86's second numbering of its calls, which would slip past every comparison
AF_UNIX, SOCK_STREAM, TYPE_BITS = 1, 1, 0xF
CLONE_THREAD = 0x10000
OWNER_COMMANDS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: they send signals by way of a file
TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, how much is there to read
NAME_COMMANDS = (15, 16)  # PR_SET_NAME, PR_GET_NAME


class NoFilter(OSError):
    """This processor's system calls are not known here."""


def network_filter() -> bytes:
    """Every socket but local ones (AF_UNIX) is refused."""
    numbers = _numbers()
    code = _Code()
    code.on(numbers["socket"], _argument(0) + _unless((AF_UNIX,), errno.EACCES))
    return code.finish(ALLOW)


def refusing_filter(names: Iterable[str]) -> bytes:
    """These calls are refused, as some containers do."""
    numbers = _numbers()
    code = _Code()
    for name in names:
        code.on(numbers[name], [_refuse(errno.EPERM)])
    return code.finish(ALLOW)


def program_filter(pid: int, may_write: bool) -> bytes:
    """No process, no socket, no signal to others, no tracing; without `may_write` no file is made or changed."""
    numbers = _numbers()
    code = _Code()
    only_itself = _argument(0) + _unless((pid,), errno.EPERM)
    guards = {
        "kill": only_itself,
        "tgkill": only_itself,
        "prlimit64": _argument(0) + _unless((0, pid), errno.EPERM),
        "clone": [*_argument(0), _jump(HAS_BITS, CLONE_THREAD, 1, 0), _refuse(errno.EPERM), _allow()],
        "clone3": [_refuse(errno.ENOSYS)],  # its flags cannot be seen from here; the C library falls back to clone
        "prctl": _argument(0) + _unless(NAME_COMMANDS, errno.EPERM),
        "fcntl": _argument(1) + _if(OWNER_COMMANDS, errno.EPERM),
        "ioctl": _argument(1) + _unless(TERMINAL_QUESTIONS, errno.ENOTTY),
        # A local datagram pair could be redirected to any socket on this machine; a stream pair cannot.
        "socketpair": [
            *_argument(0), _jump(EQUAL, AF_UNIX, 1, 0), _refuse(errno.EPERM),
            *_argument(1), _instruction(0x54, 0, 0, TYPE_BITS), *_unless((SOCK_STREAM,), errno.EPERM),
        ],
    }  # fmt: skip
    for name, guard in guards.items():
        code.on(numbers[name], guard)
    free = set(numbers) - GUARDED
    if not may_write:
        free -= CHANGES
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
        for name, place in (("open", 1), ("openat", 2)):
            if name in numbers:
                test = [_jump(HAS_BITS, writing, 0, 1), _refuse(errno.EROFS), _allow()]
                code.on(numbers[name], [*_argument(place), *test])
                free.discard(name)
    code.allow(sorted(numbers[name] for name in free))
    return code.finish(REFUSE | errno.EPERM)


class _Code:
    """Instructions in the making: first the processor is checked, then the number is held against each case."""

    def __init__(self) -> None:
        self._lines = [
            _instruction(LOAD, 0, 0, ARCHITECTURE_AT),
            _jump(EQUAL, AUDIT_ARCHITECTURE[machine()], 1, 0),
            _instruction(RETURN, 0, 0, KILL),
            _instruction(LOAD, 0, 0, NUMBER_AT),
            _jump(AT_LEAST, FOREIGN_NUMBERS, 0, 1),
            _refuse(errno.ENOSYS),
        ]

    def on(self, number: int, body: list[bytes]) -> None:
        """What to do about one call; the body always returns."""
        self._lines += [_jump(EQUAL, number, 0, len(body)), *body]

    def allow(self, numbers: list[int]) -> None:
        """Let these calls pass: as ranges, so that the kernel compares little."""
        start = 0
        for place, number in enumerate(numbers):
            if place + 1 == len(numbers) or numbers[place + 1] != number + 1:
                self._lines += [_jump(AT_LEAST, numbers[start], 0, 2), _jump(AT_LEAST, number + 1, 1, 0), _allow()]
                start = place + 1

    def finish(self, otherwise: int) -> bytes:
        """The program."""
        return b"".join([*self._lines, _instruction(RETURN, 0, 0, otherwise)])


def _numbers() -> dict[str, int]:
    if not machine():
        raise NoFilter(errno.ENOSYS, f"no system call filter for {os.uname().machine}: its call numbers are not known")
    return NUMBERS[machine()]


def _instruction(code: int, when_true: int, when_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, when_true, when_false, value)


def _jump(kind: int, value: int, when_true: int, when_false: int) -> bytes:
    return _instruction(kind, when_true, when_false, value)


def _argument(place: int) -> list[bytes]:
    return [_instruction(LOAD, 0, 0, ARGUMENTS_AT + 8 * place)]  # the lower half: these arguments are 32 bits wide


def _refuse(number: int) -> bytes:
    return _instruction(RETURN, 0, 0, REFUSE | number)


def _allow() -> bytes:
    return _instruction(RETURN, 0, 0, ALLOW)


def _unless(values: tuple[int, ...], number: int) -> list[bytes]:
    """Allow if the loaded value is one of these, else refuse."""
    tests = [_jump(EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
    return [*tests, _refuse(number), _allow()]


def _if(values: tuple[int, ...], number: int) -> list[bytes]:
    """Refuse if the loaded value is one of these, else allow."""
    tests = [_jump(EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
    return [*tests, _allow(), _refuse(number)]
