"""The tokens of a message that follows what was sampled: appended, never encoded anew with what stands before."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from critica.records.words import Message

QUESTION, ANSWER = "question", "answer"  # stand for what came before: a template's frame around them is what counts

Template = Callable[[Sequence[Mapping[str, Any]], bool], str]  # (messages, with the opening of an answer) to text


class NotAppendOnly(ValueError):
    """A chat template writes earlier messages differently once a later one is there."""


def followup_text(template: Template, told: Mapping[str, Any], name: str) -> str:
    """What a chat template writes after an answer's own text: its end, the message, and the opening of an answer.

    It is the difference of a short conversation with and without the message. Raises `NotAppendOnly` if the
    conversation without it is not how the one with it begins, or if the template takes no such message there.
    """
    opened = [{"role": "user", "content": QUESTION}]
    answered = [*opened, {"role": "assistant", "content": ANSWER}]
    try:
        before, after = template(opened, True) + ANSWER, template([*answered, told], True)
    except Exception as error:  # a template raises whatever its author chose
        raise NotAppendOnly(
            f"the chat template of {name} takes no {told['role']} message after an answer ({error}): take a protocol"
            " whose messages have another role, or a policy with another template"
        ) from error
    if not after.startswith(before):
        raise NotAppendOnly(
            f"the chat template of {name} rewrites an answer once a message follows it (a thinking block that is put"
            " in or taken out, for example), so the tokens that were sampled would not be those that are learned"
            " from: take a policy whose template only appends, or protocol=single_turn"
        )
    return after[len(before) :]


def without_written_end(
    following: tuple[int, ...], written: tuple[int, ...], end_ids: tuple[int, ...]
) -> tuple[int, ...]:
    """The tokens to append: the template's end of the answer is left out if the policy wrote that very end itself."""
    if following and written and written[-1] in end_ids and following[0] == written[-1]:
        return following[1:]
    return following


def as_dict(message: Message) -> dict[str, Any]:
    """A message as chat templates take it."""
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        told["tool_calls"] = [dict(call) for call in message.tool_calls]
    if message.tool_call_id:
        told["tool_call_id"] = message.tool_call_id
    return told
