"""Act, reflect, act again: a planner tries, a reflector says in words what to do otherwise, the planner tries anew."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from critica.environments.base import CORRECT, Environment
from critica.records.arrays import Metric
from critica.records.supervision import Scale
from critica.records.words import Message, Task
from critica.rollout.feedback import value_of
from critica.rollout.protocol import (
    Move,
    Open,
    Over,
    ProtocolContext,
    ProtocolPart,
    Read,
    Relabeled,
    Seen,
    Table,
    Turns,
    Worth,
)

PLANNER, REFLECTOR = "planner", "reflector"
EXPERT = "expert"


@runtime_checkable
class Demonstrates(Protocol):
    """An environment that can write a flawless answer itself."""

    def demonstration(self, task: Task) -> str: ...


@dataclass(frozen=True, slots=True)
class Retrospect(ProtocolPart):
    """Up to `trials` trials, with a reflection after each wrong one (RetroAct, arXiv 2503.01490).

    Every trial and every reflection is a trajectory with a context of its own, in its role: siblings are the same role
    at the same trial. A trial earns its verdict R, a reflection R(next trial) - R(this trial): what it brought about.
    `expert` adds one row a prompt with the environment's own worked answer (or the task's answer), to be imitated by
    the planner, see `advantage=feedback_credit`; the paper's experts are filtered trajectories of both roles.

    Use it where a second look helps and one policy is to learn both roles; not where the reflector may simply answer:
    nothing here keeps it from that. Costs a decoder call and a verdict for each trial, and a call for each reflection.
    """

    trials: int = 2
    reflect: str = "{question}{attempt}\nThat failed. Advice: "
    retry: str = "Advice: {advice}\n{question}"
    expert: bool = False
    reflection_tokens: int = 0

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise ValueError(f"protocol.trials={self.trials}: a reflection needs a trial after it, so 2 at least")
        if "{attempt}" not in self.reflect or "{advice}" not in self.retry or "{question}" not in self.retry:
            raise ValueError("protocol.reflect has to hold {attempt}, and protocol.retry {advice} and {question}")
        if self.reflection_tokens < 0:
            raise ValueError("protocol.reflection_tokens is a number of tokens, 0 for as many as an answer may have")

    @property
    def longest(self) -> int:
        return 2 * self.trials - 1

    def build(self, context: ProtocolContext) -> Turns:
        return Trials(self, context.environment)

    def reach(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """Of a verdict, and of the difference of two."""
        return tuple(
            Scale(one.name, min(one.low, one.low - one.high), max(one.high, one.high - one.low)) for one in scales
        )


class Trials(Turns):
    """The live protocol."""

    role = PLANNER

    def __init__(self, part: Retrospect, environment: Environment) -> None:
        self.part, self.environment = part, environment

    def opening(self, task: Task, stream: tuple[int, int, int]) -> tuple[Message, ...]:
        """The task's own messages."""
        return task.messages

    def asks(self, seen: Seen) -> bool:
        """About trials."""
        return seen.now.role == PLANNER

    def reply(self, table: Table, seen: Sequence[Seen]) -> list[Move]:
        """A reflection after a wrong trial, a trial after a reflection."""
        return [self._after_trial(one) if one.now.role == PLANNER else self._after_reflection(one) for one in seen]

    def _after_trial(self, seen: Seen) -> Move:
        number = trials_of(seen)
        if value_of(seen.now.told[0]) >= CORRECT or number >= self.part.trials:
            return Over()
        text = filled(self.part.reflect, question=seen.task.messages[-1].content, attempt=seen.now.texts[0])
        return Open(asked(seen.task, text), f"reflection-{number}", REFLECTOR)

    def _after_reflection(self, seen: Seen) -> Move:
        text = filled(self.part.retry, question=seen.task.messages[-1].content, advice=seen.now.texts[0])
        return Open(asked(seen.task, text), f"trial-{trials_of(seen) + 1}", PLANNER)

    def worth(self, seen: Seen, read: Read) -> tuple[Worth, ...]:
        """R of each trial; of each reflection what the next trial has beyond the one before.

        A reflection that no trial came of, because the policy's context was full, brought about nothing: 0.
        """
        rewards = [read(scene.told[0]) if scene.told[0] is not None else None for scene in seen.scenes]
        values = []
        for i, reward in enumerate(rewards):
            if reward is None:
                before, after = rewards[i - 1], rewards[i + 1] if i + 1 < len(rewards) else None
                reward = 0.0 if before is None or after is None else after - before
            values.append(Worth((reward,)))
        return tuple(values)

    def relabeled(self, seen: Seen) -> tuple[Relabeled, ...]:
        """The expert's answer, once a prompt. It is right by definition and nobody is asked about it."""
        if not self.part.expert or seen.stream[2] != 0:
            return ()
        known = self.environment
        text = known.demonstration(seen.task) if isinstance(known, Demonstrates) else seen.task.answer
        if not text:
            return ()
        return (Relabeled(seen.task.messages, text, (), EXPERT, PLANNER, lambda read: (1.0,)),)

    def reports(self, seen: Sequence[Seen]) -> tuple[Metric, ...]:
        """Mean verdicts about first trials and last ones."""
        told = [[one for scene in episode.scenes for one in scene.told if one is not None] for episode in seen]
        known = [row for row in told if all(hasattr(one.outcome, "value") for one in row)]
        again = [row for row in known if len(row) > 1]
        return (
            Metric("episode/first_turn", sum(value_of(row[0]) for row in known), float(len(known))),
            Metric("episode/second_turn", sum(value_of(row[1]) for row in again), float(len(again))),
        )


def trials_of(seen: Seen) -> int:
    """How many trials there were."""
    return sum(scene.role == PLANNER for scene in seen.scenes)


def filled(form: str, **texts: str) -> str:
    """The form with each {name} replaced by its text, in one pass: braces in the texts stay what they are."""
    return re.sub(r"\{(\w+)\}", lambda found: texts.get(found[1], found[0]), form)


def asked(task: Task, text: str) -> tuple[Message, ...]:
    """The task's messages with another question at their end."""
    return (*task.messages[:-1], Message("user", text))
