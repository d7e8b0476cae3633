"""What a critic wrote about somebody's work: a trajectory of its own, and what can be read off it."""

from dataclasses import dataclass
from enum import StrEnum

from critica.records.checks import require
from critica.records.supervision import Outcome, SpanScore
from critica.records.words import SampledTurn, Trajectory


class Verdict(StrEnum):
    """What a critique decides about its subject."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNREADABLE = "unreadable"  # it was asked for one and none, or more than one, could be read: never a guess
    NOT_ASKED = "not_asked"  # this critic scores and gives no verdict


@dataclass(frozen=True, slots=True)
class Critique:
    """One judgement in words: who wrote it, about whose work, how much of it was read, and what it amounts to.

    `authored` is the critic's own trajectory, so that a critic that writes is sampled, trained, stored and shown like
    any policy; its parent is the subject. `tokens_read` are the leading tokens of the subject, prompt included, that
    the critic had before it: a judgement of a prefix holds for every sibling that begins with it. `score` is a number,
    or why there is none: what cannot be read is `Failed`, never 0. `spans` score stretches of the subject's tokens.
    """

    critic: str
    subject_id: str
    authored: Trajectory
    verdict: Verdict
    score: Outcome
    tokens_read: int
    spans: tuple[SpanScore, ...] = ()

    def __post_init__(self) -> None:
        name = self.authored.trajectory_id
        require(bool(self.critic), self, f"{name!r} has no critic: name who wrote it")
        parent = self.authored.parent_id
        require(parent == self.subject_id, self, f"{name!r} judges {self.subject_id!r} but its parent is {parent!r}")
        require(name != self.subject_id, self, f"{name!r} judges itself")
        wrote = any(isinstance(turn, SampledTurn) for turn in self.authored.turns)
        require(wrote, self, f"{name!r} holds nothing that the critic wrote")
        require(self.tokens_read > 0, self, f"{name!r} read nothing of its subject")
        late = [span for span in self.spans if span.end > self.tokens_read]
        require(not late, self, f"{name!r} scores tokens that it had not read: {late}")
