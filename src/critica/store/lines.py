"""JSON lines that begin with a step: every float comes back bit for bit, a torn last line is not there."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critica.store.errors import DamagedRun
from critica.store.files import append_whole, cut_file

_NON_FINITE = {"inf": math.inf, "-inf": -math.inf}


def encode_number(value: float) -> float | str | None:
    """Strict JSON has no NaN or infinity: `null` says "nothing was counted", "inf" and "-inf" say so."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def decode_number(value: float | str | None) -> float:
    """The inverse of `encode_number`."""
    if value is None:
        return math.nan
    return _NON_FINITE[value] if isinstance(value, str) else float(value)


@dataclass(frozen=True, slots=True)
class StepLines:
    """A file of JSON objects, each with a non-decreasing integer `step`."""

    path: Path

    def append(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Append these objects, all or none."""
        append_whole(self.path, self.encode(objects))

    @staticmethod
    def encode(objects: Sequence[Mapping[str, Any]]) -> bytes:
        """One line each. Python writes the shortest decimal that reads back as the same float."""
        return "".join(json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in objects).encode()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for item, _ in self._with_ends():
            yield item

    def _with_ends(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Each whole line and the offset behind it.

        A last line without its newline was torn by a crash; a NUL byte, which no line holds, is what a lost machine
        leaves of pages that it had not written: the file ends before it.
        """
        if not self.path.exists():
            return
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                end += len(line)
                if not line.endswith(b"\n") or b"\0" in line:
                    return
                yield self._parse(line, number), end

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            item = json.loads(line)
            if type(item["step"]) is not int:
                raise ValueError("step is no integer")
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedRun(
                f"{self.path}, line {number} is not a JSON object with an integer step ({error}): the file was changed "
                f"or the disk failed. Resume from a checkpoint before that line, or delete the line"
            ) from error
        return item

    def cut_after(self, step: int) -> None:
        """Drop every line of a later step, and a torn last line."""
        if not self.path.exists():
            return
        keep = 0
        for item, end in self._with_ends():
            if item["step"] > step:
                break
            keep = end
        if keep != self.path.stat().st_size:
            cut_file(self.path, keep)
