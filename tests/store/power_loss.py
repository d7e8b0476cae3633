"""What a disk may hold after the power failed: what was synced, and of the rest whatever is worst.

The model. A file holds what it held at its last fsync, or any later content, or that content with zeros or nothing in
place of what was not synced. A folder holds the names of its last fsync or of any moment since: its changes reach the
disk in order (a rename within a folder is one change), but those of two folders, and names and contents, in any order.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from file_operations import Operation


@dataclass(eq=False)
class File:
    """Contents since the last sync, the synced one first."""

    contents: list[bytes] = field(default_factory=lambda: [b""])

    def change(self, content: bytes) -> None:
        self.contents.append(content)

    def sync(self) -> None:
        self.contents = self.contents[-1:]

    @property
    def safe_length(self) -> int:
        """How many of the newest content's first bytes were synced: what is only added or cut off harms no others."""
        pairs = enumerate(zip(self.contents[0], self.contents[-1], strict=False))
        return next(
            (at for at, (old, new) in pairs if old != new), min(map(len, (self.contents[0], self.contents[-1])))
        )


@dataclass(eq=False)
class Folder:
    """Names since the last sync, the synced ones first."""

    names: list[dict[str, "File | Folder"]] = field(default_factory=lambda: [{}])

    def change(self, names: dict[str, "File | Folder"]) -> None:
        self.names.append(names)

    def sync(self) -> None:
        self.names = self.names[-1:]


@dataclass(frozen=True)
class Loss:
    """How much of what was not synced is lost: picks one of a folder's moments and one content of a file."""

    name: str
    folder: Callable[[Folder], dict[str, File | Folder]]
    file: Callable[[File], bytes]


def zeros(file: File) -> bytes:
    """The right length, but only what was synced before is there."""
    new, shared = file.contents[-1], file.safe_length
    return new[:shared] + bytes(len(new) - shared)


def hole(file: File) -> bytes:
    """Pages reached the disk out of order: the last half of what was not synced is there, before it are zeros."""
    new, shared = file.contents[-1], file.safe_length
    middle = shared + (len(new) - shared) // 2
    return new[:shared] + bytes(middle - shared) + new[middle:]


def half(file: File) -> bytes:
    """Cut off in the middle of what was not synced."""
    new, shared = file.contents[-1], file.safe_length
    return new[: shared + (len(new) - shared) // 2]


def losses(seed: int) -> tuple[Loss, ...]:
    """The corners of the model, and one point inside it."""
    dice = random.Random(seed)

    def any_content(file: File) -> bytes:
        return dice.choice([*file.contents, zeros(file), hole(file), half(file)])

    return (
        Loss("nothing but what was synced", lambda f: f.names[0], lambda f: f.contents[0]),
        Loss("names, but no contents", lambda f: f.names[-1], lambda f: f.contents[0]),
        Loss("names, and zeros", lambda f: f.names[-1], zeros),
        Loss("names, and holes", lambda f: f.names[-1], hole),
        Loss("contents, but no names", lambda f: f.names[0], lambda f: f.contents[-1]),
        Loss(f"anything, drawn from {seed}", lambda f: dice.choice(f.names), any_content),
    )


class Disk:
    """A folder whose every change is told, as it would be after the power failed."""

    def __init__(self, start: Path) -> None:
        """All that is there now is safe."""
        self.root = self._read(start)

    def _read(self, path: Path) -> Folder:
        entries = {p.name: self._read(p) if p.is_dir() else File([p.read_bytes()]) for p in path.iterdir()}
        return Folder([entries])

    def find(self, path: str) -> File | Folder:
        node: File | Folder = self.root
        for part in Path(path).parts:
            assert isinstance(node, Folder)
            node = node.names[-1][part]
        return node

    def apply(self, operation: Operation) -> None:
        """One change."""
        path = Path(operation.path)
        if operation.kind == "sync":
            self.find(operation.path).sync()
            return
        if operation.kind in ("write", "truncate"):
            file = self.find(operation.path)
            assert isinstance(file, File)
            now = file.contents[-1]
            file.change(now + operation.payload if operation.kind == "write" else now[: operation.size])
            return
        folder = self.find(str(path.parent))
        assert isinstance(folder, Folder)
        names = dict(folder.names[-1])
        if operation.kind == "rename":
            target = Path(operation.other)
            assert target.parent == path.parent, "a rename between folders is not in the model"
            names[target.name] = names.pop(path.name)
        elif operation.kind == "remove":
            del names[path.name]
        else:
            names[path.name] = Folder() if operation.kind == "mkdir" else File()
        folder.change(names)

    def write_out(self, target: Path, loss: Loss) -> None:
        """Make a real folder of what is left."""
        target.mkdir(exist_ok=True)
        self._write(self.root, target, loss)

    def _write(self, folder: Folder, target: Path, loss: Loss) -> None:
        for name, node in loss.folder(folder).items():
            if isinstance(node, Folder):
                (target / name).mkdir()
                self._write(node, target / name, loss)
            else:
                (target / name).write_bytes(loss.file(node))


def replayed(start: Path, changes: Sequence[Operation], count: int) -> Disk:
    """The disk after the first `count` changes."""
    disk = Disk(start)
    for change in changes[:count]:
        disk.apply(change)
    return disk
