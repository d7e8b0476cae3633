"""Checkpoints published by one rename, checked byte by byte, and never rotated down to none that is good."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from critica.store.errors import CorruptCheckpoint, NoCheckpoint, full_disk_explained
from critica.store.files import sync_file, sync_folder, write_whole

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint whose every byte was checked; `skipped` says which newer ones were not good, and why."""

    step: int
    path: Path
    skipped: tuple[str, ...] = ()


def _nothing() -> None:
    """Nothing else to make durable."""


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The folder `checkpoints/`: `step_N` are published, `.tmp-step_N` and `.old-step_N` are not.

    `keep` good checkpoints stay; older ones go only after `keep` newer ones have been verified.
    """

    folder: Path
    keep: int = 2
    before_publish: Callable[[], None] = _nothing  # what must be durable before a resume can rely on it
    after_publish: Callable[[], None] = _nothing  # what a newer checkpoint makes superfluous

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"CheckpointStore.keep is {self.keep}: at least one checkpoint must stay")

    @property
    def steps(self) -> tuple[int, ...]:
        """Published steps, oldest first, good or not."""
        if not self.folder.is_dir():
            return ()
        found = (path.name.partition("step_") for path in self.folder.glob("*step_*"))
        return tuple(sorted({int(end) for start, _, end in found if start in ("", ".old-") and end.isdigit()}))

    def path_of(self, step: int) -> Path:
        """Where the checkpoint of this step is published: `step_N`, or what a crash left of its replacement."""
        final, replaced = self.folder / f"step_{step}", self.folder / f".old-step_{step}"
        return replaced if replaced.exists() and not final.exists() else final

    def write(self, step: int, writer: Callable[[Path], None]) -> Path:
        """Let `writer` fill a folder, then publish it as `step_N`, then rotate. Raises `DiskFull`.

        Whenever it is stopped, the older checkpoints are untouched and `step_N` is either whole or not there.
        """
        self.stage(step, writer)
        return self.publish(step)

    def stage(self, step: int, writer: Callable[[Path], None]) -> None:
        """Let `writer` fill an unpublished folder with the state as it is now. `publish` may follow in a thread."""
        self._recover()
        temporary = self._temporary(step)
        with self._cleaning(temporary):
            temporary.mkdir(parents=True)
            writer(temporary)

    def publish(self, step: int) -> Path:
        """Seal what was staged, make it and what it relies on durable, give it its name, and rotate."""
        temporary, final = self._temporary(step), self.folder / f"step_{step}"
        with self._cleaning(temporary):
            write_whole(temporary / MANIFEST, _seal(_digests(temporary)))
            _sync_tree(temporary)
            self.before_publish()
            replaced = self.folder / f".old-step_{step}"
            if final.exists():  # a resume from an earlier step comes by here again
                os.rename(final, replaced)
            os.rename(temporary, final)
            sync_folder(self.folder)
            shutil.rmtree(replaced, ignore_errors=True)
            self._rotate(sealed=step)
        self.after_publish()
        return final

    def _temporary(self, step: int) -> Path:
        return self.folder / f".tmp-step_{step}"

    @contextmanager
    def _cleaning(self, temporary: Path) -> Iterator[None]:
        """Leave nothing behind that was not finished, and say it when the disk is full."""
        try:
            with full_disk_explained(temporary, self._size_of_newest(), self.folder.parent):
                yield
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def verify(self, step: int) -> VerifiedCheckpoint:
        """Check every byte of one checkpoint. Raises `CorruptCheckpoint` naming the file."""
        path = self.path_of(step)
        if not path.is_dir():
            held = ", ".join(map(str, self.steps)) or "none"
            raise NoCheckpoint(f"{self.folder} holds no checkpoint of step {step}; it holds: {held}")
        problem = _problem(path)
        if problem:
            raise CorruptCheckpoint(f"the checkpoint {path} is corrupt: {problem}; {self._way_out(step)}")
        return VerifiedCheckpoint(step, path)

    def latest(self, allow_fallback: bool = False) -> VerifiedCheckpoint:
        """The newest checkpoint, verified. If it is corrupt: raise, or with `allow_fallback` go to the one before.

        Raises `NoCheckpoint` when none was ever published, `CorruptCheckpoint` when none is good.
        """
        steps = self.steps
        if not steps:
            raise NoCheckpoint(
                f"{self.folder} holds no finished checkpoint: the run stopped before its first one. "
                f"Start it again in a new folder, with a smaller `--set checkpoint.every=N`"
            )
        skipped: list[str] = []
        for step in reversed(steps):
            try:
                return VerifiedCheckpoint(step, self.verify(step).path, tuple(skipped))
            except CorruptCheckpoint as error:
                if not allow_fallback:
                    raise
                skipped.append(str(error))
        raise CorruptCheckpoint(f"no checkpoint in {self.folder} is good: " + " | ".join(skipped))

    def drop_after(self, step: int) -> None:
        """Remove checkpoints later than `step`, durably: they belong to a course that a resume from `step` leaves."""
        for later in reversed(self.steps):  # newest first: stopped between two, the rest is still a course
            if later > step:
                for name in (f".old-step_{later}", f"step_{later}"):
                    if (self.folder / name).exists():
                        self._remove(self.folder / name)

    def _remove(self, path: Path) -> None:
        """Out of sight by one rename, then deleted: stopped half-way, nothing half stands under a final name.

        Durable on return: one that came back after a power loss would stand over lines that are about to be cut.
        """
        hidden = self.folder / f".tmp-{path.name.removeprefix('.old-')}-removed"
        shutil.rmtree(hidden, ignore_errors=True)
        os.rename(path, hidden)
        sync_folder(self.folder)  # before its content goes: the two reach the disk in any order
        shutil.rmtree(hidden)

    def _way_out(self, step: int) -> str:
        earlier = [older for older in self.steps if older < step and not _problem(self.path_of(older))]
        if earlier:
            return (
                f"the checkpoint of step {earlier[-1]} is good: "
                f"`critica resume {self.folder.parent} --step {earlier[-1]}` goes on from there"
            )
        return "no earlier checkpoint is good: start the run again from its config.toml in a new folder"

    def _recover(self) -> None:
        """Undo what a crash left: unfinished folders go, a replaced checkpoint without its successor comes back.

        Only the writer may: to a reader, an unfinished folder may be another process at work.
        """
        for unfinished in self.folder.glob(".tmp-step_*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        for replaced in self.folder.glob(".old-step_*"):
            final = self.folder / replaced.name.removeprefix(".old-")
            if final.exists():
                shutil.rmtree(replaced, ignore_errors=True)
            else:
                os.rename(replaced, final)

    def _rotate(self, sealed: int = -1) -> None:
        """Remove what is older than the `keep` newest good checkpoints. Corrupt ones do not count as kept.

        `sealed` was read back a moment ago, when its checksums were taken.
        """
        good = 0
        for step in reversed(self.steps):
            if good >= self.keep:
                self._remove(self.path_of(step))
            elif step == sealed or not _problem(self.path_of(step)):
                good += 1

    def _size_of_newest(self) -> int:
        """How many bytes a checkpoint takes, going by the last one; 0 if there is none."""
        steps = self.steps
        return sum(f.stat().st_size for f in self.path_of(steps[-1]).rglob("*") if f.is_file()) if steps else 0


def _digests(folder: Path) -> dict[str, dict[str, object]]:
    """Size and blake2b of each file below, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): {"bytes": path.stat().st_size, "blake2b": _digest(path)} for path in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def _seal(files: dict[str, dict[str, object]]) -> bytes:
    """The manifest's only possible bytes: canonical JSON with its own digest, so that a flip in it shows too."""
    own = hashlib.blake2b(json.dumps(files, sort_keys=True).encode(), digest_size=32).hexdigest()
    return (json.dumps({"files": files, "blake2b": own}, sort_keys=True, indent=1) + "\n").encode()


def _problem(folder: Path) -> str:
    """What is wrong with this checkpoint, as a clause that names the file; empty if nothing is."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return f"{MANIFEST} is missing, so it was never finished"
    try:
        content = manifest.read_bytes()
        files = json.loads(content)["files"]
        if _seal(files) != content:
            return f"{MANIFEST} was changed after it was written"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} was changed after it was written"
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size} bytes, {expected['bytes']} were written"
        if _digest(path) != expected["blake2b"]:
            return f"{name} was changed after it was written"
    extra = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - set(files) - {MANIFEST}
    return f"{min(extra)} was added after it was written" if extra else ""


def _sync_tree(folder: Path) -> None:
    """Every file and folder to the disk, children before parents."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)
    sync_folder(folder)
