"""What can be wrong with a run folder, each as a sentence with the way out."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NO_ENTRY = (errno.EROFS, errno.EACCES, errno.EPERM)
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


class StoreError(Exception):
    """Something about a run folder needs the user."""


class NotARun(StoreError, FileNotFoundError):
    """The path holds no run."""

    def __str__(self) -> str:
        return str(self.args[0])


class RunFolderBusy(StoreError, FileExistsError):
    """The folder already holds a run, or another process writes it."""

    def __str__(self) -> str:
        return str(self.args[0])


class DamagedRun(StoreError):
    """A file of the run folder contradicts the others."""


class CorruptCheckpoint(StoreError):
    """A checkpoint's bytes are not those that were written."""


class NoCheckpoint(StoreError):
    """The run holds no checkpoint at all."""


class DiskFull(StoreError, OSError):
    """The disk, or the quota on it, has no room."""

    def __init__(self, path: Path, needed: int, resume: str) -> None:
        self.path, self.needed = path, needed
        self.sentence = (
            f"the disk is full: {path} needs about {readable_bytes(needed)} more. "
            f"What was written before is whole; free some space, then `critica resume {resume}`"
        )
        OSError.__init__(self, errno.ENOSPC, self.sentence)

    def __str__(self) -> str:
        return self.sentence


class ReadOnlyRun(StoreError, PermissionError):
    """The run folder cannot be written."""

    def __init__(self, path: Path, reason: str) -> None:
        self.sentence = (
            f"{path} cannot be written ({reason}): what it holds is as it was. Make it writable for this user, "
            f"or copy the run folder to a place that is"
        )
        PermissionError.__init__(self, errno.EACCES, self.sentence)

    def __str__(self) -> str:
        return self.sentence


def readable_bytes(count: int) -> str:
    """1536 -> '1.5 KiB'."""
    size, unit = float(count), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


@contextmanager
def full_disk_explained(path: Path, needed: int, run: Path) -> Iterator[None]:
    """Turn 'no space left' and 'quota exceeded' into `DiskFull`, 'read-only' into `ReadOnlyRun`; others pass.

    safetensors says what the system said in words of its own, with the system's number in them.
    """
    try:
        yield
    except (DiskFull, ReadOnlyRun):
        raise
    except (OSError, SafetensorError) as error:
        number = system_error(error)
        if number == errno.EROFS:
            raise ReadOnlyRun(path, os.strerror(errno.EROFS)) from error
        if number not in NO_ROOM:
            raise
        raise DiskFull(path, needed, str(run)) from error


def system_error(error: OSError | SafetensorError) -> int | None:
    """The system's number for what went wrong, if it was the system that refused."""
    if isinstance(error, OSError):
        return error.errno
    found = _SYSTEM_ERROR.search(str(error))
    return int(found.group(1)) if found else None
