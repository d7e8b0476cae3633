"""What became of each case of a program, in words that a reader of a run can use. Imports no torch."""

import json
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["passed", "wrong", "error", "timeout", "memory", "output_limit", "not_run"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One case: passed, wrong (it answered otherwise), error, timeout, memory, output_limit, or not run at all."""

    kind: Kind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.detail})" if self.detail else self.kind


@dataclass(frozen=True, slots=True)
class Report:
    """A program's verdicts, one per case, in order."""

    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> int:
        """How many cases passed."""
        return sum(verdict.kind == "passed" for verdict in self.verdicts)

    @property
    def share(self) -> float:
        """The share of cases that passed."""
        return self.passed / len(self.verdicts)

    def __str__(self) -> str:
        failed = [(number, verdict) for number, verdict in enumerate(self.verdicts, 1) if verdict.kind != "passed"]
        told = [f"case {number}: {verdict}" for number, verdict in failed if verdict.kind != "not_run"]
        return "; ".join([f"passed {self.passed} of {len(self.verdicts)}", *told[:3]])

    def to_note(self) -> str:
        """One string that travels with a number; see `wire.Noted`."""
        return json.dumps([[verdict.kind, verdict.detail] for verdict in self.verdicts])

    @classmethod
    def from_note(cls, note: str) -> "Report":
        """The report that `to_note` wrote."""
        pairs = json.loads(note)
        assert all(kind in get_args(Kind) for kind, _ in pairs)
        return cls(tuple(Verdict(kind, detail) for kind, detail in pairs))
