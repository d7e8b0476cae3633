"""The rows of a task source of any size by number: read once from end to end, checked, and then by offset.

What stays in memory is 21 bytes a row. Reading goes by offset (`pread`), so that forked workers do not disturb each
other.
"""

import hashlib
import itertools
import os
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from critica.environments.folders import folder_splits
from critica.environments.hub import PREFIX, hub_name, hub_splits
from critica.environments.keep import Condition
from critica.environments.rows import (
    ABSENT,
    MAX_ROW_BYTES,
    Columns,
    Row,
    TaskFileProblem,
    decode_line,
    lookup,
    near,
    parse_line,
    parse_record,
    shown,
)
from critica.environments.sources import Opened, is_folder, open_file, open_splits
from critica.environments.splits import SPLITS, Splits, normalize

BOM = b"\xef\xbb\xbf"
LEFT_OUT = 255  # in `RowFile.splits`: of no split


@dataclass(frozen=True, slots=True)
class Tally:
    """What a source holds: rows, different prompts (by normalized text), and different pairs of prompt and answer.

    `rows` are those that were kept. `dropped` says how many each condition left out, `shared` how many stand in the
    split that is held out as well and so are not trained on.
    """

    rows: int
    prompts: int
    pairs: int
    columns: tuple[str, ...]
    has_answers: bool
    dropped: Mapping[str, int]
    shared: int

    @property
    def duplicates(self) -> int:
        """Rows whose prompt stands in an earlier row."""
        return self.rows - self.prompts

    @property
    def contradictions(self) -> int:
        """Answers beyond the first to one and the same prompt."""
        return self.pairs - self.prompts


def open_rows(path: str, splits: Splits) -> Opened:
    """The rows behind a path: a file, a folder, or `hf:NAME`. Raises `TaskFileProblem`."""
    if path.startswith(PREFIX):
        return open_splits(path, hub_splits(hub_name(path)), splits)
    if is_folder(Path(path)):
        return open_splits(path, folder_splits(Path(path)), splits)
    try:
        return open_file(Path(path), splits)
    except OSError as error:
        raise TaskFileProblem(f"{path} cannot be read: {error.strerror or error}") from error


class RowFile:
    """The checked rows of a task source. `splits[i]` indexes `SPLITS`, or is `LEFT_OUT`."""

    def __init__(self, path: str, columns: Columns, splits: Splits, keep: Sequence[Condition] = ()) -> None:
        self.path = path
        self._columns = columns
        self._starts, self._sizes, self._sums = array("Q"), array("I"), array("I")
        self._numbers = array("I")
        self._seen = array("Q"), array("Q")
        self._keep = [condition for condition in keep if not condition.of_length]
        self._opened = open_rows(path, splits)
        self.digest = self._opened.digest
        places = bytearray()
        dropped = {condition.text: 0 for condition in self._keep}
        names = self._read_through(places, splits, dropped)
        self.splits = np.frombuffer(places, dtype=np.uint8)
        seen = tuple(np.frombuffer(each, dtype=np.uint64) for each in self._seen)
        shared = self._leave_out_held(seen[0]) if splits.held_out_name else 0
        kept = self.splits != LEFT_OUT
        prompts, pairs = (len(np.unique(each[kept])) for each in seen)
        self.tally = Tally(int(kept.sum()), prompts, pairs, tuple(names), self._has_answers, dropped, shared)
        del self._seen

    def __len__(self) -> int:
        return len(self.splits)

    def number(self, row: int) -> int:
        """Where row `row` (from 0) stands among all rows of the source, from 1."""
        return self._numbers[row]

    def row(self, row: int) -> Row:
        """Row `row`, from 0. Raises if the file was changed since it was opened."""
        place = self._opened.place(self._numbers[row])
        raw = os.pread(self._opened.lines.fileno(), self._sizes[row], self._starts[row])
        if zlib.crc32(raw) != self._sums[row]:
            raise TaskFileProblem(
                f"{self.path} was changed while it was in use ({place.unit} {place.number} is another): train on a copy"
                " that nobody writes to"
            )
        return parse_line(_bare(raw, first=self._numbers[row] == 1), self._columns, place)

    def leave_out(self, unwanted: Callable[[Row], bool]) -> int:
        """Take the rows of which this is true out of every split; how many they are."""
        wrong = [i for i in np.flatnonzero(self.splits != LEFT_OUT).tolist() if unwanted(self.row(i))]
        self.splits[wrong] = LEFT_OUT
        return len(wrong)

    def _leave_out_held(self, prompts: np.ndarray) -> int:
        """Take what is to be trained on and stands in the held-out split as well out of training; how many rows."""
        held = self.splits == SPLITS.index("held_out")
        wrong = ~held & np.isin(prompts, prompts[held])
        self.splits[wrong] = LEFT_OUT
        return int(wrong.sum())

    def _read_through(self, places: bytearray, splits: Splits, dropped: dict[str, int]) -> list[str]:
        """Check every row, note where it stands; the names of all columns."""
        names: dict[str, None] = {}
        found: set[str] = set()
        blank = start = 0
        self._has_answers = False
        for number in itertools.count(1):
            raw = self._opened.lines.readline(MAX_ROW_BYTES + 1)
            if not raw:
                break
            start += len(raw)
            place = self._opened.place(number)
            bare = _bare(raw, first=number == 1)
            if not bare.strip():
                blank = blank or number
                continue
            if blank:
                self._opened.place(blank).refuse("it is blank, and there are tasks after it: remove it")
            record = decode_line(bare, place)
            row = parse_record(record, self._columns, place)
            names.update(dict.fromkeys(row.info))
            found.update(one.column for one in self._keep if lookup(record, one.column) is not ABSENT)
            missed = next((one for one in self._keep if not one.admits(record, place)), None)
            if missed is not None:
                dropped[missed.text] += 1
                continue
            self._note(raw, start - len(raw), number, row)
            held = self._opened.part(number).split == splits.held_out_name != ""
            places.append(SPLITS.index("held_out" if held else splits.of(row.prompt)))
        self._require_rows(len(places), names, found, dropped)
        return list(names)

    def _require_rows(self, kept: int, names: Mapping[str, None], found: set[str], dropped: Mapping[str, int]) -> None:
        absent = next((one for one in self._keep if one.column not in found), None)
        if absent is not None and (kept or any(dropped.values())):
            raise TaskFileProblem(
                f"{self.path}: environment.keep asks for {shown(absent.text)}, and no row has a column"
                f" {shown(absent.column)}{near(absent.column, names, 'keep')}"
            )
        if not kept and any(dropped.values()):
            how = ", ".join(f"{shown(text)} leaves out {count:,}" for text, count in dropped.items())
            raise TaskFileProblem(f"{self.path}: environment.keep leaves no row ({how}): ask for less")
        if not kept:
            raise TaskFileProblem(f"{self.path} holds no task: write one JSON object a {self._opened.unit}")

    def _note(self, raw: bytes, start: int, number: int, row: Row) -> None:
        if not self._sizes:
            self._has_answers = bool(row.answer)
        elif self._has_answers != bool(row.answer):
            which = "the first row has one" if self._has_answers else "the first row has none"
            has = "an answer" if row.answer else "no answer"
            self._opened.place(number).refuse(
                f"it has {has} in column {shown(self._columns.answer)}, and {which}: give all or none one"
            )
        self._starts.append(start)
        self._sizes.append(len(raw))
        self._sums.append(zlib.crc32(raw))
        self._numbers.append(number)
        prompt = hashlib.blake2b(normalize(row.prompt).encode(), digest_size=8)
        self._seen[0].append(int.from_bytes(prompt.digest(), "little"))
        prompt.update(b"\0" + row.answer.encode())
        self._seen[1].append(int.from_bytes(prompt.digest(), "little"))


def _bare(raw: bytes, first: bool) -> bytes:
    """A line without its end, and the first one without a byte-order mark."""
    return raw.removesuffix(b"\n").removesuffix(b"\r").removeprefix(BOM if first else b"")
