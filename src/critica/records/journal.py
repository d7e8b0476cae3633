"""What a step was told from outside, kept by index so that a step done again is told the same."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from critica.records.checks import require
from critica.records.supervision import Abstained, Failed, Outcome, Scored, TextSpan, Verdict
from critica.records.words import EMPTY


@dataclass(frozen=True, slots=True)
class Answer:
    """What one source said about one trajectory. `digest` is of what it was asked, see `question_digest`.

    `memory` is the source's state after this answer, of a source that has one; it stands with the last answer of each
    time that it was asked. `text` is what it wrote, of one that writes instead of judging: its verdict is empty.
    """

    source: str
    trajectory_id: str
    digest: str
    verdict: Verdict
    memory: Mapping[str, Any] = field(default_factory=lambda: EMPTY, hash=False)
    text: str = ""

    @property
    def failed(self) -> bool:
        """Whether an objective has no outcome because the source failed."""
        return any(isinstance(outcome, Failed) for outcome in self.verdict.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; floats come back bit for bit."""
        line: dict[str, Any] = {"source": self.source, "trajectory_id": self.trajectory_id, "digest": self.digest}
        line["said"] = [outcome_to_json(outcome) for outcome in self.verdict.outcomes]
        if self.verdict.parts:
            line["parts"] = dict(self.verdict.parts)
        if self.verdict.spans:
            line["spans"] = [[span.start, span.end, span.value, span.objective] for span in self.verdict.spans]
        if self.verdict.cost:
            line["cost"] = self.verdict.cost
        if self.memory:
            line["memory"] = dict(self.memory)
        if self.text:
            line["text"] = self.text
        return line

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Answer":
        """The answer that `to_json` wrote."""
        said = line.get("said", [line])  # one outcome stood in the line itself before there were several
        verdict = Verdict(
            tuple(outcome_from_json(one) for one in said),
            line.get("parts", EMPTY),
            tuple(TextSpan(*span) for span in line.get("spans", ())),
            line.get("cost", 0.0),
        )
        return cls(
            line["source"], line["trajectory_id"], line["digest"], verdict, line.get("memory", EMPTY),
            line.get("text", ""),
        )  # fmt: skip


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Plain JSON."""
    if isinstance(outcome, Scored):
        return {"value": outcome.value, "confidence": outcome.confidence}
    return {"failed": outcome.error} if isinstance(outcome, Failed) else {"abstained": outcome.reason}


def outcome_from_json(said: Mapping[str, Any]) -> Outcome:
    """The outcome that `outcome_to_json` wrote."""
    if "value" in said:
        return Scored(said["value"], said["confidence"])
    if "failed" in said:
        return Failed(said["failed"])
    require("abstained" in said, Answer, "a line holds no outcome")
    return Abstained(said["abstained"])


def question_digest(task_id: str, text: str) -> str:
    """16 hexadecimal digits of blake2b over what a source was asked: an answer belongs to this text only."""
    return hashlib.blake2b(f"{task_id}\0{text}".encode(errors="surrogatepass"), digest_size=8).hexdigest()


@runtime_checkable
class Journal(Protocol):
    """Answers by step. What `record` returned from is found again by `recall`, also after a crash."""

    def recall(self, step: int) -> Sequence[Answer]: ...

    def record(self, step: int, answers: Sequence[Answer]) -> None: ...

    def forget_failures(self, step: int) -> None: ...


@dataclass(frozen=True, slots=True)
class NoJournal:
    """Remembers nothing: for code that is not part of a run."""

    def recall(self, step: int) -> Sequence[Answer]:
        """Nothing."""
        return ()

    def record(self, step: int, answers: Sequence[Answer]) -> None:
        """Nothing."""

    def forget_failures(self, step: int) -> None:
        """Nothing."""
