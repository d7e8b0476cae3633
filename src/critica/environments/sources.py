"""Where the rows of tasks come from: one file, a folder of them, a saved data set, or a data set of the hub.

Whatever it is becomes JSON lines behind one file handle: a `.jsonl` file as it stands, all else written once into a
nameless temporary file, because its rows cannot be read one by one.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from critica.environments.parquet import parquet_records
from critica.environments.rows import MAX_ROW_BYTES, Place, TaskFileProblem, decode_line, require_plain, shown
from critica.environments.splits import Splits

JSONL, PARQUET = ".jsonl", ".parquet"
SUFFIXES = (JSONL, PARQUET)
READ_BYTES = 2**20

Records = Callable[[], Iterator[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the rows, in their order: the split that they belong to (empty: a file of its own), as people call it."""

    split: str
    label: str
    rows: int


@dataclass(frozen=True, slots=True)
class Opened:
    """Rows as JSON lines, part after part. `digest` tells this content from any other."""

    lines: IO[bytes]
    unit: Literal["line", "row"]
    parts: tuple[Part, ...]
    digest: str

    def place(self, number: int) -> Place:
        """Where row `number` (from 1, over all parts) stands."""
        for part in self.parts[:-1]:
            if number <= part.rows:
                return Place(part.label, self.unit, number)
            number -= part.rows
        return Place(self.parts[-1].label, self.unit, number)

    def part(self, number: int) -> Part:
        """The part that row `number` belongs to."""
        for part in self.parts[:-1]:
            if number <= part.rows:
                return part
            number -= part.rows
        return self.parts[-1]


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no folder can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def open_file(path: Path, splits: Splits) -> Opened:
    """One `.jsonl` or `.parquet` file. Raises `TaskFileProblem` if splits are asked for by name: it has none."""
    named = splits.train or splits.held_out_name
    if named:
        raise TaskFileProblem(
            f"{path} is one file and has no split {shown(named)}: put {named}{path.suffix} and the other split's file"
            " into a folder and name the folder, or hold out a share (environment.splits.held_out=0.2)"
        )
    if path.suffix.lower() == JSONL:
        return Opened(path.open("rb"), "line", (Part("", str(path), sys.maxsize),), digest_of(path))
    digest = digest_of(path)
    lines, rows, _ = spool([("", str(path), lambda: parquet_records(path))])
    return Opened(lines, "row", (Part("", str(path), rows[0]),), digest)


def open_splits(label: str, found: Mapping[str, Records], splits: Splits) -> Opened:
    """The split that is trained on, and the one that is held out by name, out of those that were found."""
    names = [wanted_split(label, found, splits.train)]
    if splits.held_out_name:
        if splits.held_out_name not in found:
            raise no_split(label, found, splits.held_out_name, "environment.splits.held_out")
        if splits.held_out_name == names[0]:
            raise TaskFileProblem(f"{label}: split {shown(names[0])} cannot be both trained on and held out: name two")
        names.append(splits.held_out_name)
    parts = [(name, f"{label} (split {name})", found[name]) for name in names]
    lines, rows, digest = spool(parts)
    told = tuple(Part(name, where, count) for (name, where, _), count in zip(parts, rows, strict=True))
    return Opened(lines, "row", told, digest)


def wanted_split(label: str, found: Iterable[str], name: str) -> str:
    """The split of this name; for none `train`, or the only one. Raises `TaskFileProblem` listing those there are."""
    names = list(found)
    if name in names:
        return name
    if not name and ("train" in names or len(names) == 1):
        return "train" if "train" in names else names[0]
    raise no_split(label, names, name or "train", "environment.splits.train")


def no_split(label: str, found: Iterable[str], name: str, setting: str) -> TaskFileProblem:
    """There is no split of this name."""
    listed = ", ".join(map(shown, sorted(found))) or "none"
    return TaskFileProblem(
        f"{label} has no split {shown(name)}. It has: {listed}; say which one with --set {setting}=…"
    )


def jsonl_records(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file, which may be blank at its end alone. Raises `TaskFileProblem` with the line."""
    blank = 0
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(MAX_ROW_BYTES + 1), b""), 1):
            place = Place(str(path), "line", number)
            if not raw.strip():
                blank = blank or number
                continue
            if blank:
                Place(str(path), "line", blank).refuse("it is blank, and there are tasks after it: remove it")
            yield decode_line(raw.removeprefix(b"\xef\xbb\xbf" if number == 1 else b""), place)


def spool(parts: Iterable[tuple[str, str, Records]]) -> tuple[IO[bytes], list[int], str]:
    """Row after row as a line, part after part: the lines, how many of each part, and a digest of it all."""
    lines = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the tasks that are read from it
    digest, counts = hashlib.blake2b(digest_size=4), []
    for split, label, records in parts:
        digest.update(split.encode() + b"\n")
        counts.append(0)
        for number, record in enumerate(records(), 1):
            place = Place(label, "row", number)
            require_plain(record, place)
            line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
            if len(line) >= MAX_ROW_BYTES:
                place.refuse(f"it is longer than {MAX_ROW_BYTES:,} bytes: is it one task?")
            lines.write(line + b"\n")
            digest.update(line + b"\n")
            counts[-1] = number
    lines.flush()
    lines.seek(0)
    return lines, counts, digest.hexdigest()


def digest_of(path: Path) -> str:
    """What tells this content from any other."""
    digest = hashlib.blake2b(digest_size=4)
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()
