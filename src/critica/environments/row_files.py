"""A task file of any size as rows by number: read once from end to end, checked, and then by offset.

What stays in memory is 13 bytes a row. Reading goes by offset (`pread`), so that forked workers do not disturb each
other.
"""

import hashlib
import itertools
import os
import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from critica.environments.parquet import spool_parquet
from critica.environments.rows import MAX_ROW_BYTES, Columns, Place, Row, TaskFileProblem, parse_line, shown
from critica.environments.splits import SPLITS, normalize, split_of

JSONL, PARQUET = ".jsonl", ".parquet"
SUFFIXES = (JSONL, PARQUET)
READ_BYTES = 2**20
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Tally:
    """What a file holds: rows, different prompts (by normalized text), and different pairs of prompt and answer."""

    rows: int
    prompts: int
    pairs: int
    columns: tuple[str, ...]
    has_answers: bool

    @property
    def duplicates(self) -> int:
        """Rows whose prompt stands in an earlier row."""
        return self.rows - self.prompts

    @property
    def contradictions(self) -> int:
        """Answers beyond the first to one and the same prompt."""
        return self.pairs - self.prompts


class RowFile:
    """The checked rows of a task file. Row i (from 0) stands at `offsets[i]`; `splits[i]` indexes `SPLITS`."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self.path = path
        self._columns = columns
        self._unit = "line" if path.suffix.lower() == JSONL else "row"
        self._offsets, self._sums = array("Q", [0]), array("I")
        self._seen = array("Q"), array("Q")
        splits = bytearray()
        try:
            self.digest = _digest(path)
            self._file: IO[bytes] = path.open("rb") if self._unit == "line" else spool_parquet(path)
            names = self._read_through(splits)
        except OSError as error:
            raise TaskFileProblem(f"{path} cannot be read: {error.strerror or error}") from error
        self.splits = np.frombuffer(bytes(splits), dtype=np.uint8)
        prompts, pairs = (len(np.unique(np.frombuffer(seen, dtype=np.uint64))) for seen in self._seen)
        self.tally = Tally(len(splits), prompts, pairs, tuple(names), self._has_answers)
        del self._seen

    def __len__(self) -> int:
        return len(self.splits)

    def row(self, number: int) -> Row:
        """Row `number`, from 0. Raises if the file was changed since it was opened."""
        start, end = self._offsets[number], self._offsets[number + 1]
        raw = os.pread(self._file.fileno(), end - start, start)
        if zlib.crc32(raw) != self._sums[number]:
            raise TaskFileProblem(
                f"{self.path} was changed while it was in use ({self._unit} {number + 1} is another): train on a copy "
                "that nobody writes to"
            )
        return parse_line(_bare(raw, first=number == 0), self._columns, self._place(number + 1))

    def _place(self, number: int) -> Place:
        return Place(str(self.path), self._unit, number)

    def _read_through(self, splits: bytearray) -> list[str]:
        """Check every row, note where it stands; the names of all columns."""
        names: dict[str, None] = {}
        blank = 0
        self._has_answers = False
        for number in itertools.count(1):
            raw = self._file.readline(MAX_ROW_BYTES + 1)
            if not raw:
                break
            place = self._place(number)
            bare = _bare(raw, first=number == 1)
            if not bare.strip():
                blank = blank or number
                continue
            if blank:
                self._place(blank).refuse("it is blank, and there are tasks after it: remove it")
            row = parse_line(bare, self._columns, place)
            self._note(raw, row, splits, place)
            names.update(dict.fromkeys(row.info))
        if not splits:
            raise TaskFileProblem(f"{self.path} holds no task: write one JSON object a {self._unit}")
        return list(names)

    def _note(self, raw: bytes, row: Row, splits: bytearray, place: Place) -> None:
        if not splits:
            self._has_answers = bool(row.answer)
        elif self._has_answers != bool(row.answer):
            which = "the first row has one" if self._has_answers else "the first row has none"
            has = "an answer" if row.answer else "no answer"
            place.refuse(f"it has {has} in column {shown(self._columns.answer)}, and {which}: give all or none one")
        self._offsets.append(self._offsets[-1] + len(raw))
        self._sums.append(zlib.crc32(raw))
        splits.append(SPLITS.index(split_of(row.prompt)))
        prompt = hashlib.blake2b(normalize(row.prompt).encode(), digest_size=8)
        self._seen[0].append(int.from_bytes(prompt.digest(), "little"))
        prompt.update(b"\0" + row.answer.encode())
        self._seen[1].append(int.from_bytes(prompt.digest(), "little"))


def _bare(raw: bytes, first: bool) -> bytes:
    """A line without its end, and the first one without a byte-order mark."""
    return raw.removesuffix(b"\n").removesuffix(b"\r").removeprefix(BOM if first else b"")


def _digest(path: Path) -> str:
    """What tells this content from any other."""
    digest = hashlib.blake2b(digest_size=4)
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()
