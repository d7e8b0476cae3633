"""How else the same sampled tokens may be read: after another context, from another layer, by another model.

A view costs one forward pass, never a second copy of the policy, and what it says carries no gradient.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from critica.records.words import ContextTurn, Group, Message, SampledTurn, Task


class UnreadableView(ValueError):
    """A view asks for a context that the task, the row or the model does not have."""


class Encodes(Protocol):
    """What turns messages into the policy's tokens."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]: ...

    def encode_followup(self, message: Message, written: tuple[int, ...]) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """A trajectory read another way. `row` is its place in the group; every turn stands at the place it has there.

    Sampled turns are those that the view speaks about, with the tokens that were sampled; a turn that is only read is
    context, and turns after the last sampled one are left out.
    """

    row: int
    turns: tuple[ContextTurn | SampledTurn, ...]


class ContextView(ABC):
    """The policy's own tokens after other words, read by the policy as it is at the start of the step."""

    name: str

    @abstractmethod
    def opening(self, task: Task) -> tuple[Message, ...]:
        """The messages in front of the first turn that is read. Raises `UnreadableView`."""

    @abstractmethod
    def readings(self, group: Group, encoder: Encodes) -> tuple[Reading, ...]:
        """Every reading of this group's rows. Raises `UnreadableView`."""


@dataclass(frozen=True, slots=True)
class AnotherContext(ContextView):
    """The tokens after another prompt; what came between their turns stays.

    `instruction` is appended to the task's last message, with `{answer}` and `{info.FIELD}` filled in from the task;
    with `empty` the instruction is all that stands before the tokens.
    """

    name: str
    instruction: str = ""
    empty: bool = False

    def opening(self, task: Task) -> tuple[Message, ...]:
        """The other context of this task."""
        said = filled(self.instruction, task)
        return (Message("user", said),) if self.empty else with_hint(task.messages, said)

    def readings(self, group: Group, encoder: Encodes) -> tuple[Reading, ...]:
        """One reading of each row, all its turns."""
        refuse_other_openings(self.name, group, encoder)
        messages = self.opening(group.task)
        opening = ContextTurn(messages[-1], encoder.encode(messages))
        return tuple(Reading(row, (opening, *one.turns[1:])) for row, one in enumerate(group.trajectories))


@dataclass(frozen=True, slots=True)
class AnotherLayer:
    """The tokens read out part of the way up by the final norm and head (logit lens).

    `depth` is that part of the layers, rounded to a whole layer and at least the first; 1 is the policy itself.
    """

    name: str
    depth: float

    def __post_init__(self) -> None:
        refuse_depth(self.depth)


@dataclass(frozen=True, slots=True)
class FrozenReference:
    """The tokens read by the policy as it was when the run began: a copy of its weights, held for the whole run."""

    name: str


ViewSpec = ContextView | AnotherLayer | FrozenReference


def refuse_depth(depth: float) -> None:
    """Raise ValueError for what is no part of the way up."""
    if not 0 < depth <= 1:
        raise ValueError(f"depth is a share of the model's layers, above 0 and at most 1 (the last), got {depth}")


def with_hint(messages: tuple[Message, ...], said: str) -> tuple[Message, ...]:
    """The messages with a line more at the end of the last one; as they are if nothing is said."""
    *before, last = messages
    return (*before, replace(last, content=f"{last.content}\n{said}" if said else last.content))


def refuse_other_openings(name: str, group: Group, encoder: Encodes) -> None:
    """Raise `UnreadableView` if a row does not begin with its task's own prompt: a view of that would be of another."""
    own = encoder.encode(group.task.messages)
    for one in group.trajectories:
        if one.turns[0].token_ids != own:
            raise UnreadableView(
                f"the view {name!r} puts other words around a task's prompt, and {one.trajectory_id!r} begins with"
                " something else (a hint, or a scene that a protocol opened): use it where every row begins with the"
                " task's own prompt"
            )


def filled(instruction: str, task: Task) -> str:
    """The instruction with the task's own words in it. What they say is not filled in again.

    Raises `UnreadableView` if the task lacks a field that the instruction names, or has nothing to say there.
    """
    made, rest = "", instruction
    while (start := rest.find("{")) >= 0:
        end = rest.find("}", start)
        field = rest[start + 1 : end] if end > start else ""
        if field != "answer" and not field.startswith("info."):
            made, rest = made + rest[: start + 1], rest[start + 1 :]
            continue
        made, rest = made + rest[:start] + _told(field, task), rest[end + 1 :]
    return made + rest


def _told(field: str, task: Task) -> str:
    """What the task says there."""
    said = task.answer if field == "answer" else str(task.info.get(field.removeprefix("info."), ""))
    if not said:
        raise UnreadableView(
            f"a view's instruction names {{{field}}}, and task {task.task_id!r} has none: take tasks that carry it, or"
            " an instruction without it"
        )
    return said
