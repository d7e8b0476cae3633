"""Raw readings of a match, one JSON line each, appended as they are made: a bench that is cut off goes on from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from critica.benches.neighbors import QUIET_CORES


@dataclass(frozen=True, slots=True)
class Reading:
    """One contender in one round: `units` steps or decodes took `seconds` together and sampled `tokens`.

    `peak_mib`: the process tree's peak so far. `other_cores`: cores that other processes used meanwhile. `load`: the
    one-minute load average at the end. `stages`: of `seconds`, those of the stages that the contender names.
    `cpu_seconds`: processor time of the process tree, which a busy neighbor changes less than `seconds`.
    """

    contender: str
    round: int
    units: int
    seconds: float
    tokens: int
    peak_mib: float
    other_cores: float
    load: float
    time: str
    stages: Mapping[str, float] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    @property
    def quiet(self) -> bool:
        """Whether the machine was the contender's own."""
        return self.other_cores <= QUIET_CORES

    @property
    def seconds_per_unit(self) -> float:
        """Of one step, or one decode."""
        return self.seconds / self.units

    @property
    def tokens_per_second(self) -> float:
        """Sampled tokens over seconds."""
        return self.tokens / self.seconds


class Journal:
    """A match's readings on disk, under a signature of what was timed; another signature starts anew."""

    def __init__(self, path: Path, signature: str) -> None:
        self.path = path
        self.signature = signature
        self.facts: dict[str, dict[str, object]] = {}
        self.readings: list[Reading] = []
        lines = read_lines(path)
        if lines and lines[0].get("signature") == signature:
            for line in lines[1:]:
                self._take(line)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            if lines:
                path.replace(path.with_suffix(".old.jsonl"))
            path.write_text(json.dumps({"signature": signature}) + "\n")

    def add(self, reading: Reading) -> None:
        """Keep one reading."""
        self._append({"reading": asdict(reading)})

    def add_facts(self, contender: str, facts: dict[str, object]) -> None:
        """Keep what a contender said about itself."""
        self._append({"contender": contender, "facts": facts})

    def rounds_done(self, contenders: Sequence[str]) -> list[int]:
        """Rounds in which every contender was read."""
        seen: dict[int, set[str]] = {}
        for reading in self.readings:
            seen.setdefault(reading.round, set()).add(reading.contender)
        return sorted(number for number, names in seen.items() if set(contenders) <= names)

    def quiet_rounds(self, contenders: Sequence[str]) -> list[int]:
        """Rounds done in which nobody was disturbed."""
        loud = {reading.round for reading in self.readings if reading.contender in contenders and not reading.quiet}
        return [number for number in self.rounds_done(contenders) if number not in loud]

    def _append(self, line: dict[str, object]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._take(line)

    def _take(self, line: dict) -> None:
        if "reading" in line:
            self.readings.append(Reading(**line["reading"]))
        elif "facts" in line:
            self.facts[line["contender"]] = line["facts"]


def read_lines(path: Path) -> list[dict]:
    """The whole lines of a journal; a torn last line was never a reading."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    if found:
        path.write_text("".join(json.dumps(line) + "\n" for line in found))
    return found
