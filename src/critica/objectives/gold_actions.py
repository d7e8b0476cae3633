"""GAPD's teacher: the policy itself, told before each turn which action comes next on the right way from there."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from critica.functional.anchors import matched
from critica.records.views import ContextView, Encodes, Reading, UnreadableView, refuse_other_openings, with_hint
from critica.records.words import ContextTurn, Group, Message, SampledTurn, Task

Turns = tuple[ContextTurn | SampledTurn, ...]


class Matcher(ABC):
    """Says how the right way goes on from where somebody stands."""

    @abstractmethod
    def next_action(self, task: Task, before: Turns) -> str:
        """The right action after these turns; empty where they left the way. Raises `UnreadableView`."""


@dataclass(frozen=True, slots=True)
class ReachedAnchors(Matcher):
    """Mid-anchor matching: a state of the right way is known by the set of things reached before it.

    `task.info["gold_steps"]` is the way: `{"reached": [...], "action": "..."}` for each step, in order. What somebody
    reached are all matches of `pattern` (a regular expression) in what came back after the opening. A state matches the
    step whose set overlaps with it most (Jaccard), if by at least `least`. A task without steps has one, its answer,
    to be taken when nothing was reached yet: a single answer is one action.
    """

    pattern: str = r"\w+"
    least: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ValueError(f"least is a share of overlap, above 0 and at most 1 (equal sets), got {self.least}")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from error

    def next_action(self, task: Task, before: Turns) -> str:
        steps = gold_steps(task)
        seen = [turn.message.content for turn in before[1:] if isinstance(turn, ContextTurn)]
        reached = frozenset(found for text in seen for found in re.findall(self.pattern, text))
        taken = sum(isinstance(turn, SampledTurn) for turn in before)
        place = matched(reached, [there for there, _ in steps], self.least, taken)
        return steps[place][1] if place >= 0 else ""


def gold_steps(task: Task) -> Sequence[tuple[frozenset[str], str]]:
    """What is reached before each right action, and the action. Raises `UnreadableView` if nobody knows."""
    told = task.info.get("gold_steps")
    if told is None and task.answer:
        return [(frozenset(), task.answer)]
    well = isinstance(told, Sequence) and all(isinstance(one, Mapping) and one.keys() >= KEYS for one in told)
    if not told or not well:
        raise UnreadableView(
            f"task {task.task_id!r} has neither an answer nor info.gold_steps, a list of"
            ' {"reached": [...], "action": "..."}: take tasks that carry the right way, or another view'
        )
    return [(frozenset(map(str, one["reached"])), str(one["action"])) for one in told]


KEYS = {"reached", "action"}


@dataclass(frozen=True, slots=True)
class GoldActions(ContextView):
    """Each turn after its own context and one more line: the next right action, where the state is on the right way.

    `template` names `{action}`. A turn is read after the very tokens that stood before it, without the hints of earlier
    turns; turns off the way are not read. In a single-turn task the anchor is the whole answer.

    Gold-action policy distillation (arXiv 2605.29584), whose matching is on entities of a knowledge base. Costs a
    forward pass over the context and the turn for each turn that matches; in a single-turn task, one a row.
    """

    name: str = "gold_action"
    template: str = "The next right action is {action}"
    matcher: Matcher = field(default_factory=ReachedAnchors)

    def __post_init__(self) -> None:
        if "{action}" not in self.template:
            raise ValueError(f"the template must name {{action}}, what is told, got {self.template!r}")

    def opening(self, task: Task) -> tuple[Message, ...]:
        """The task with its first right action."""
        return with_hint(task.messages, self.hint(gold_steps(task)[0][1]))

    def hint(self, action: str) -> str:
        """The line that tells it."""
        return self.template.replace("{action}", action)

    def readings(self, group: Group, encoder: Encodes) -> tuple[Reading, ...]:
        """One reading of each turn that is on the right way."""
        refuse_other_openings(self.name, group, encoder)
        made = []
        for row, one in enumerate(group.trajectories):
            for place, turn in enumerate(one.turns):
                action = self.matcher.next_action(group.task, one.turns[:place]) if sampled(turn) else ""
                if action:
                    before = self.told(group.task, one.turns[:place], self.hint(action), encoder)
                    made.append(Reading(row, (*before, turn)))
        return tuple(made)

    def told(self, task: Task, before: Turns, hint: str, encoder: Encodes) -> Turns:
        """These turns as context, the last of them with the hint at its end."""
        *earlier, last = before
        read = tuple(ContextTurn(turn.message, turn.token_ids) for turn in earlier)
        if not earlier:
            messages = with_hint(task.messages, hint)
            return (ContextTurn(messages[-1], encoder.encode(messages)),)
        written = earlier[-1].token_ids
        as_it_was = sampled(earlier[-1]) and not sampled(last)
        if not as_it_was or encoder.encode_followup(last.message, written) != last.token_ids:
            raise UnreadableView(
                f"the view {self.name!r} adds a line to what a turn answers, and in task {task.task_id!r} that is no"
                " single message of its own after the turn before: use a protocol that answers each turn by one message"
            )
        message = replace(last.message, content=f"{last.message.content}\n{hint}")
        return (*read, ContextTurn(message, encoder.encode_followup(message, written)))


def sampled(turn: ContextTurn | SampledTurn) -> bool:
    """Whether the policy wrote it."""
    return isinstance(turn, SampledTurn)
