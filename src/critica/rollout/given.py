"""Answers that the data gives: nothing is sampled, and the policy reads each answer once, so that it has log-probs."""

from collections.abc import Sequence
from dataclasses import dataclass

from critica.environments.base import Environment, EnvironmentProblem
from critica.records.supervision import Scale
from critica.records.words import Message, Task
from critica.rollout.protocol import Move, Over, ProtocolContext, ProtocolPart, Read, Seen, Table, Turns, Worth
from critica.rollout.retrospect import Demonstrates

WORKED = "worked"


@dataclass(frozen=True, slots=True)
class Given(ProtocolPart):
    """Each task's answers are read from its data instead of being written: supervised fine-tuning in the same loop.

    Sample i of a prompt gets the answer that `answers[i]` names (with more samples than names, from the start again):
    a column of the task file, `answer`, or `worked`, the environment's own demonstration. It is told `worth[i]`, 1 if
    there is none, times the task's column `weight`, if one is named; no source is asked. Pairs are
    `answers=("chosen", "rejected")` with `worth=(1.0, 0.0)` and two samples a prompt.

    An answer longer than the token limit is refused, unless `cut` says that it ends there, without an end of text.
    Its log-probs under the policy of the step stand as `behavior_logprobs`; that costs one forward pass in place of
    decoding. With objective=cross_entropy this is SFT; with a pairwise objective, learning from recorded preferences.
    """

    answers: tuple[str, ...] = (WORKED,)
    worth: tuple[float, ...] = ()
    weight: str = ""
    cut: bool = False

    def __post_init__(self) -> None:
        if not self.answers or not all(self.answers):
            raise ValueError("protocol.answers is empty: name a column of the task file, answer, or worked")
        if self.worth and len(self.worth) != len(self.answers):
            raise ValueError(
                f"protocol.worth has {len(self.worth)} numbers and protocol.answers {len(self.answers)} names: give one"
                " for each, or none"
            )
        if self.worth and not any(self.worth):
            raise ValueError("protocol.worth is 0 for every answer, so that nothing is learned: give one of them more")

    def build(self, context: ProtocolContext) -> Turns:
        return GivenAnswers(self, context.environment)

    def reach(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """Between the least worth and the greatest, and 0, to which a weight of at most 1 pulls both."""
        if len(scales) != 1:
            raise ValueError(
                f"protocol=given tells one number for each answer, and this source has {len(scales)} objectives: take"
                " reward=environment"
            )
        told = (0.0, *(self.worth or (1.0,)))
        return (Scale(scales[0].name, min(told), max(told)),)


class GivenAnswers(Turns):
    """The live protocol."""

    def __init__(self, part: Given, environment: Environment) -> None:
        self.part, self.environment, self.cuts = part, environment, part.cut

    def opening(self, task: Task, stream: tuple[int, int, int]) -> tuple[Message, ...]:
        """The task's own messages."""
        return task.messages

    def dictated(self, seen: Seen) -> str:
        """The answer of this sample. Raises `EnvironmentProblem` if the data has none."""
        name, task = self.part.answers[seen.stream[2] % len(self.part.answers)], seen.task
        if name == WORKED:
            text = self.environment.demonstration(task) if isinstance(self.environment, Demonstrates) else ""
        else:
            text = task.answer if name == "answer" else task.info.get(name, "")
        if isinstance(text, str) and text:
            return text
        columns = ", ".join(map(str, task.info)) or "none"
        raise EnvironmentProblem(
            f"task {task.task_id!r} has no text {name!r} to learn from: name a column of the task file"
            f' (--set protocol.answers=["completion"]; here: {columns}), "answer", or take an environment that can'
            " demonstrate (arithmetic, the token games, chain_sum and the others of pico)"
        )

    def asks(self, seen: Seen) -> bool:
        """About nothing: the data is right."""
        return False

    def reply(self, table: Table, seen: Sequence[Seen]) -> list[Move]:
        """One answer and no more."""
        return [Over() for _ in seen]

    def worth(self, seen: Seen, read: Read) -> tuple[Worth, ...]:
        """What this answer is worth, times the weight of its task."""
        part = self.part
        worth = part.worth[seen.stream[2] % len(part.answers)] if part.worth else 1.0
        return (Worth((worth * self._weight(seen.task),)),)

    def _weight(self, task: Task) -> float:
        if not self.part.weight:
            return 1.0
        weight = task.info.get(self.part.weight)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise EnvironmentProblem(
                f"task {task.task_id!r} has the weight {weight!r} in column {self.part.weight!r}: a weight lies between"
                " 0 and 1; divide the column by its greatest number"
            )
        return float(weight)
