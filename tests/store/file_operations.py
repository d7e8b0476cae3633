"""Every change that the store makes to a disk, one after another: counted, cut off at any one, or written down."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CREATING = os.O_CREAT | os.O_TRUNC
KILLED = 99


@dataclass(frozen=True)
class Operation:
    """One change: `kind`, the paths it speaks of (relative to the root), and what a write carried."""

    kind: str
    path: str
    other: str = ""
    payload: bytes = b""
    size: int = 0


class Watch:
    """Sees every change below `root` before it happens. `before(number, operation, perform)` may do it, or not."""

    def __init__(self, root: Path, before: Callable[[int, Operation, Callable[[bytes], None]], None]) -> None:
        self.root, self.before, self.count = str(root), before, 0

    def _name(self, path: Any, folder: int | None = None) -> str | None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        elif folder is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fspath(path))
        path = os.path.abspath(os.fspath(path))
        inside = path == self.root or path.startswith(self.root + os.sep)
        return os.path.relpath(path, self.root) if inside else None

    def _tell(self, operation: Operation, perform: Callable[[bytes], None] = lambda part: None) -> None:
        self.count += 1
        self.before(self.count - 1, operation, perform)

    @contextmanager
    def installed(self) -> Iterator["Watch"]:
        """While entered, the functions of `os` that change a disk pass by here."""
        names = ("open", "write", "fsync", "replace", "rename", "ftruncate", "unlink", "remove", "rmdir", "mkdir")
        real = {name: getattr(os, name) for name in names}

        def opened(path, flags, mode=0o777, *, dir_fd=None):
            name = self._name(path, dir_fd) if flags & CREATING else None
            if name is not None and name != ".lock":
                exists = os.path.exists(os.path.join(self.root, name))
                if not exists or flags & os.O_TRUNC:
                    self._tell(Operation("truncate" if exists else "create", name))
            return real["open"](path, flags, mode, dir_fd=dir_fd)

        def written(descriptor, payload):
            name = self._name(descriptor)
            if name is not None and name != ".lock":
                self._tell(
                    Operation("write", name, payload=bytes(payload)), lambda part: real["write"](descriptor, part)
                )
            return real["write"](descriptor, payload)

        def cut(descriptor, size):
            name = self._name(descriptor)
            if name is not None and name != ".lock":
                self._tell(Operation("truncate", name, size=size))
            return real["ftruncate"](descriptor, size)

        def synced(descriptor):
            name = self._name(descriptor)
            if name is not None:
                self._tell(Operation("sync", name))
            return real["fsync"](descriptor)

        def moved(kind):
            def move(source, target, *, src_dir_fd=None, dst_dir_fd=None):
                name, other = self._name(source, src_dir_fd), self._name(target, dst_dir_fd)
                if name is not None and other is not None:
                    self._tell(Operation("rename", name, other))
                return real[kind](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

            return move

        def changed(function, kind):
            def change(path, *rest, dir_fd=None):
                name = self._name(path, dir_fd)
                present = name is not None and os.path.lexists(os.path.join(self.root, name))
                if name is not None and present != (kind == "mkdir"):  # else the system refuses, and nothing changes
                    self._tell(Operation(kind, name))
                return real[function](path, *rest, dir_fd=dir_fd)

            return change

        ours = {
            "open": opened, "write": written, "fsync": synced, "ftruncate": cut,
            "rename": moved("rename"), "replace": moved("replace"),
            "unlink": changed("unlink", "remove"), "remove": changed("remove", "remove"),
            "rmdir": changed("rmdir", "remove"), "mkdir": changed("mkdir", "mkdir"),
        }  # fmt: skip
        for name, function in ours.items():
            setattr(os, name, function)
        try:
            yield self
        finally:
            for name, function in real.items():
                setattr(os, name, function)


def record(root: Path, work: Callable[[], None], into: list[Operation] | None = None) -> list[Operation]:
    """Do the work; every change that it made below `root`, in order, also while it is at work in `into`."""
    seen: list[Operation] = [] if into is None else into
    with Watch(root, lambda number, operation, perform: seen.append(operation)).installed():
        work()
    return seen


def killed_at(number: int, root: Path, work: Callable[[], None], torn: bool = False) -> bool:
    """Do the work in a child that ends before its change `number`, or in the midst of it if `torn` (a write).

    Whether the child got that far. Nothing of this process is touched: no handler, no exit function runs.
    """

    def before(count: int, operation: Operation, perform: Callable[[bytes], None]) -> None:
        if count == number:
            if torn and operation.kind == "write":
                perform(operation.payload[: max(1, len(operation.payload) // 2)])
            os._exit(KILLED)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            with Watch(root, before).installed():
                work()
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED), f"the work failed before change {number}"
    return status == KILLED
