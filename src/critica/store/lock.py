"""One writer per run: an advisory lock on `.lock` that dies with its process."""

import fcntl
import os
from pathlib import Path

from critica.store.errors import NO_ENTRY, ReadOnlyRun, RunFolderBusy


class WriterLock:
    """A POSIX record lock, not flock: forked reward workers do not inherit it, so a killed trainer leaves none.

    It keeps other processes out, not a second writer in the same process.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / ".lock"
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            if error.errno not in NO_ENTRY:
                raise
            raise ReadOnlyRun(run, error.strerror or "no permission") from error
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise RunFolderBusy(
                f"{run} is being written by process {holder}: wait for it, stop it, or choose another folder with "
                f"`--run`; when it has stopped, `critica resume {run}` continues it"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others write."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
