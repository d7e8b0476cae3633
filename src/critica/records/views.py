"""How else the same sampled tokens may be read: after another context, from another layer, by another model.

A view costs one forward pass, never a second copy of the policy. What it says is detached unless an objective trains
through it.
"""

from dataclasses import dataclass

from critica.records.words import Message, Task


@dataclass(frozen=True, slots=True)
class AnotherContext:
    """The tokens after another prompt, read by the policy as it is at the start of the step.

    `instruction` is appended to the last message, with `{answer}` and `{info.FIELD}` filled in from the task;
    `empty` puts nothing before the tokens but the instruction.
    """

    name: str
    instruction: str = ""
    empty: bool = False

    def messages(self, task: Task) -> tuple[Message, ...]:
        """The other context of this task. Raises ValueError if the task lacks a field that the instruction names."""
        said = filled(self.instruction, task)
        if self.empty:
            return (Message("user", said),)
        *before, last = task.messages
        joined = f"{last.content}\n{said}" if said else last.content
        return (*before, Message(last.role, joined))


@dataclass(frozen=True, slots=True)
class AnotherLayer:
    """The tokens read out of an earlier layer by the final norm and head (logit lens). `layer` counts from 1."""

    name: str
    layer: int


ViewSpec = AnotherContext | AnotherLayer


def filled(instruction: str, task: Task) -> str:
    """The instruction with the task's own words in it."""
    text = instruction.replace("{answer}", task.answer)
    while (start := text.find("{info.")) >= 0:
        end = text.find("}", start)
        field = text[start + 6 : end] if end > start else ""
        if field not in task.info:
            raise ValueError(
                f"a view's instruction names info.{field or '?'}, which task {task.task_id!r} does not have"
            )
        text = text[:start] + str(task.info[field]) + text[end + 1 :]
    return text
