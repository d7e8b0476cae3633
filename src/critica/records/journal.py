"""What a step was told from outside, kept by index so that a step done again is told the same."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from critica.records.checks import require
from critica.records.supervision import Abstained, Failed, Outcome, Scored


@dataclass(frozen=True, slots=True)
class Answer:
    """What one source said about one trajectory. `digest` is of what it was asked, see `question_digest`."""

    source: str
    trajectory_id: str
    digest: str
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; floats come back bit for bit."""
        said: dict[str, Any]
        if isinstance(self.outcome, Scored):
            said = {"value": self.outcome.value, "confidence": self.outcome.confidence}
        elif isinstance(self.outcome, Failed):
            said = {"failed": self.outcome.error}
        else:
            said = {"abstained": self.outcome.reason}
        return {"source": self.source, "trajectory_id": self.trajectory_id, "digest": self.digest, **said}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Answer":
        """The answer that `to_json` wrote."""
        outcome: Outcome
        if "value" in line:
            outcome = Scored(line["value"], line["confidence"])
        elif "failed" in line:
            outcome = Failed(line["failed"])
        else:
            require("abstained" in line, cls, "a line holds no outcome")
            outcome = Abstained(line["abstained"])
        return cls(line["source"], line["trajectory_id"], line["digest"], outcome)


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
