"""Several attempts at one question: a wrong answer is said to be wrong, and the policy may try again."""

from collections.abc import Sequence
from dataclasses import dataclass

from critica.environments.base import CORRECT, Environment
from critica.functional.random import uniforms
from critica.records.arrays import Metric
from critica.records.supervision import Scale
from critica.records.words import Message, StopReason, Task
from critica.rollout.protocol import Move, Over, ProtocolContext, ProtocolPart, Read, Say, Seen, Table, Turns, Worth


@dataclass(frozen=True, slots=True)
class MultiAttempt(ProtocolPart):
    """Up to N attempts, N drawn evenly from 1 to `most` for each prompt of a step (siblings share it).

    After a wrong answer comes `feedback` with the number of attempts left; the first right answer ends the episode.
    The whole episode is worth +1 if an attempt was right, `wrong` if there was an answer at all, else `none`
    (arXiv 2503.04808, and the released code, whose `attempt_discount` is overwritten before it is used). Right is a
    verdict of at least .999, as training is told it: noise and corrections reach every attempt. `exactly` fixes N.

    Use it where a verdict is at hand while the policy still writes, to teach it to make use of "wrong"; not where
    feedback could be gamed by guessing through a handful of choices. Each attempt costs a decoder call and a verdict.
    With one attempt it is single-turn training on these three rewards. Held-out accuracy is of first attempts.
    """

    most: int = 5
    exactly: int = 0
    wrong: float = -0.5
    none: float = -1.0
    feedback: str = "That is wrong. {left} left: "
    turn_tokens: int = 0
    episode_tokens: int = 0

    def __post_init__(self) -> None:
        if self.most < 1 or self.exactly < 0 or self.turn_tokens < 0 or self.episode_tokens < 0:
            raise ValueError("protocol.most must be at least 1; exactly, turn_tokens and episode_tokens not negative")
        if not self.none <= self.wrong < 1:
            raise ValueError("protocol: a right answer is worth 1, a wrong one less, and no answer at most as much")
        try:
            self.feedback.format(left=1)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"protocol.feedback={self.feedback!r} holds a field other than {{left}}, the number of attempts left"
            ) from error

    @property
    def longest(self) -> int:
        """The greatest number of attempts."""
        return self.exactly or self.most

    def build(self, context: ProtocolContext) -> Turns:
        return Attempts(self, context.environment)

    def reach(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """From no answer to a right one, whatever the verdicts' own range."""
        return tuple(Scale(scale.name, self.none, 1.0) for scale in scales)


class Attempts(Turns):
    """The live protocol."""

    def __init__(self, part: MultiAttempt, environment: Environment) -> None:
        self.part, self.environment = part, environment
        self.turn_tokens, self.episode_tokens = part.turn_tokens, part.episode_tokens

    def opening(self, task: Task, stream: tuple[int, int, int]) -> tuple[Message, ...]:
        """The task's own messages."""
        return task.messages

    def attempts(self, seed: int, stream: tuple[int, int, int]) -> int:
        """N of this prompt, counted by (seed, step, slot)."""
        if self.part.exactly:
            return self.part.exactly
        return 1 + int(uniforms(seed, "protocol/attempts", *stream[:2], count=1)[0] * self.part.most)

    def asks(self, seen: Seen) -> bool:
        """About every attempt."""
        return True

    def reply(self, table: Table, seen: Sequence[Seen]) -> list[Move]:
        """Over when right or out of attempts, else what is left."""
        return [self._move(one, self.attempts(table.seed, one.stream)) for one in seen]

    def _move(self, seen: Seen, attempts: int) -> Move:
        if right(seen):
            return Over(StopReason.ANSWERED if attempts > 1 else None)
        left = attempts - seen.turns
        if left < 1:
            return Over(StopReason.TURN_LIMIT if attempts > 1 else None)
        return Say(Message("user", self.part.feedback.format(left=left)))

    def worth(self, seen: Seen, read: Read) -> tuple[Worth, ...]:
        """One number for the episode, on its last token."""
        verdicts = [read(reward) for reward in seen.now.told if reward is not None]
        if max(verdicts) >= CORRECT:
            return (Worth((1.0,)),)
        tried = any(self.environment.answer_in(seen.task, text) for text in seen.now.texts)
        return (Worth((self.part.wrong if tried else self.part.none,)),)

    def reports(self, seen: Sequence[Seen]) -> tuple[Metric, ...]:
        """How often the first attempt was told right, and any."""
        first = [told_right(one, 1) for one in seen if None not in one.now.told]
        any_of = [told_right(one, one.turns) for one in seen if None not in one.now.told]
        return (
            Metric("episode/right_first", float(sum(first)), float(len(first))),
            Metric("episode/right_any", float(sum(any_of)), float(len(any_of))),
        )


def right(seen: Seen) -> bool:
    """Whether the last turn was told right."""
    return told_right(seen, seen.turns) and not told_right(seen, seen.turns - 1)


def told_right(seen: Seen, turns: int) -> bool:
    """Whether one of the first so many turns was."""
    told = [reward.outcome for reward in seen.now.told[:turns] if reward is not None]
    return any(getattr(outcome, "value", 0.0) >= CORRECT for outcome in told)
