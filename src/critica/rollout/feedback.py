"""Answer, critique, answer again: a second turn that was told in words what was wrong with the first."""

from collections.abc import Sequence
from dataclasses import dataclass

from critica.environments.base import CORRECT
from critica.records.arrays import Metric
from critica.records.supervision import Reward, Scale, Scored
from critica.records.words import Message, SampledTurn, Task
from critica.rollout.critiques import CritiquePart, CritiqueWriter, ToldAnswer, critique_prompt
from critica.rollout.protocol import (
    Move,
    Over,
    ProtocolContext,
    ProtocolPart,
    Read,
    Relabeled,
    Say,
    Seen,
    Table,
    Turns,
    Worth,
)

SINGLE, CRITIQUE = "single", "critique"
PLACE = "{critique}"


@dataclass(frozen=True, slots=True)
class Feedback(ProtocolPart):
    """x0, answer y0, critique c0, answer y1 to x1 = (x0, y0, c0); a right y0 ends the episode (arXiv 2602.02482).

    Each turn earns its own verdict on its own last token, the second times `discount`. `single_turn_rows` adds rows
    (x0, y1), told r1: what the policy knew only after the critique, to be learned without it (RLTF-SD).
    `critique_rows` adds rows (x0 and y0, c0), told r1 - r0: the critique, to be learned as a text (RLTF-FM). What their
    credit is, `advantage=feedback_credit` says.

    Use it where somebody can say what is wrong; a verdict alone has `multi_attempt`. Costs a second answer for every
    wrong one, the critiques, and one reading of the added rows.
    """

    critic: CritiquePart = ToldAnswer()
    message: str = "Wrong: {critique}. Again: "
    discount: float = 0.1
    single_turn_rows: bool = False
    critique_rows: bool = False
    turn_tokens: int = 0

    def __post_init__(self) -> None:
        if self.message.count(PLACE) != 1:
            raise ValueError("protocol.message has to hold {critique} once: it is where the critique is shown")
        if not 0 <= self.discount <= 1:
            raise ValueError(f"protocol.discount weighs the second verdict, between 0 and 1, got {self.discount}")

    @property
    def longest(self) -> int:
        return 2

    def build(self, context: ProtocolContext) -> Turns:
        return FeedbackTurns(self, self.critic.build(context))

    def reach(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """Of both verdicts together, and of the added rows."""
        made = []
        for scale in scales:
            second = (self.discount * scale.low, self.discount * scale.high)
            low, high = scale.low + min(0.0, second[0]), scale.high + max(0.0, second[1])
            if self.critique_rows:
                low, high = min(low, scale.low - scale.high), max(high, scale.high - scale.low)
            made.append(Scale(scale.name, low, high))
        return tuple(made)


class FeedbackTurns(Turns):
    """The live protocol."""

    def __init__(self, part: Feedback, writer: CritiqueWriter) -> None:
        self.part, self.writer = part, writer
        self.turn_tokens = part.turn_tokens

    def opening(self, task: Task, stream: tuple[int, int, int]) -> tuple[Message, ...]:
        """The task's own messages."""
        return task.messages

    def asks(self, seen: Seen) -> bool:
        """About both answers."""
        return True

    def reply(self, table: Table, seen: Sequence[Seen]) -> list[Move]:
        """A critique of every wrong first answer; over where nobody has one."""
        wrong = [i for i, one in enumerate(seen) if one.turns == 1 and value_of(one.now.told[0]) < CORRECT]
        written = dict(zip(wrong, self.writer.write(table, [seen[i] for i in wrong]) if wrong else [], strict=True))
        said = [written.get(i, "") for i in range(len(seen))]
        return [Say(Message("user", self.part.message.replace(PLACE, text))) if text else Over() for text in said]

    def worth(self, seen: Seen, read: Read) -> tuple[Worth, ...]:
        """r0 on the first answer, discount * r1 on the second."""
        verdicts = [read(reward) for reward in seen.now.told if reward is not None]
        shares = tuple(value * self.part.discount**k for k, value in enumerate(verdicts))
        return (Worth((sum(shares),), shares),)

    def relabeled(self, seen: Seen) -> tuple[Relabeled, ...]:
        """Of an episode with two answers: the second under the first's context, and the critique as a text."""
        if seen.turns < 2:
            return ()
        first, second = (reward for reward in seen.now.told if reward is not None)
        last = seen.now.turns[-1]
        assert isinstance(last, SampledTurn)
        rows = []
        if self.part.single_turn_rows:
            rows.append(
                Relabeled(
                    seen.task.messages,
                    last.message.content,
                    last.token_ids,
                    SINGLE,
                    "single_turn",
                    lambda read: (read(second),),
                )
            )
        if self.part.critique_rows:
            before, after = self.part.message.split(PLACE)
            shown = seen.now.turns[2].message.content
            text = shown[len(before) : len(shown) - len(after)]
            rows.append(
                Relabeled(
                    critique_prompt(seen, 0), text, (), CRITIQUE, "critic", lambda read: (read(second) - read(first),)
                )
            )
        return tuple(rows)

    def reports(self, seen: Sequence[Seen]) -> tuple[Metric, ...]:
        """Mean verdicts about the first answers and the second ones."""
        known = [one for one in seen if all(r is not None and isinstance(r.outcome, Scored) for r in one.now.told)]
        first = [value_of(one.now.told[0]) for one in known]
        second = [value_of(one.now.told[1]) for one in known if one.turns > 1]
        return (
            Metric("episode/first_turn", float(sum(first)), float(len(first))),
            Metric("episode/second_turn", float(sum(second)), float(len(second))),
        )

    def close(self) -> None:
        """End who writes the critiques."""
        self.writer.close()


def value_of(reward: Reward | None) -> float:
    """What training was told of a turn."""
    assert reward is not None and isinstance(reward.outcome, Scored)
    return reward.outcome.value
