"""Before training: whether a chat template can be learned under, or would teach other tokens than it is served with."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from critica.policies.followup import ANSWER, QUESTION, NotAppendOnly, followup_text
from critica.records.words import Message

THOUGHT = f"<think>\nthought\n</think>\n\n{ANSWER}"
MORE = Message("user", "and now")


class UnfitTemplate(ValueError):
    """A chat template, or a setting beside it, that training could not keep to; the text says what to do."""


class Templated(Protocol):
    """A policy that may have a chat template."""

    tokenizer: Any
    system: str

    @property
    def end_ids(self) -> tuple[int, ...]: ...

    def render(self, told: Sequence[Mapping[str, Any]], opened: bool) -> str: ...


def check_template(policy: Templated, several_turns: bool, stops: Sequence[str] = ()) -> tuple[str, ...]:
    """What to know about this policy's chat template before training; nothing for a policy without one.

    Raises `UnfitTemplate` for a system prompt that the template does not take and for stop strings that are special
    tokens, `NotAppendOnly` if episodes of several turns are to be learned under a template that rewrites what was said.
    Warns where the answer is not opened, where the end of a turn does not end an answer, where a conversation read
    whole has other tokens than one that grew, and where thinking is taken out of earlier answers.
    """
    refuse_special_stops(policy, stops)
    if not policy.tokenizer.chat_template:
        return ()
    asked = refuse_unheard_system(policy)
    found = [*unopened(policy, asked), *endless(policy, asked)]
    if several_turns:
        name = type(policy.tokenizer).__name__
        followup_text(policy.render, {"role": MORE.role, "content": MORE.content}, name)
        found += [*other_borders(policy, asked), *forgets_thinking(policy, asked)]
    return tuple(found)


def refuse_special_stops(policy: Templated, stops: Sequence[str]) -> None:
    """Raise `UnfitTemplate` for a stop string that is a special token: answers are searched as text, without those."""
    special = set(policy.tokenizer.all_special_tokens)
    for stop in stops:
        if stop in special:
            ends = policy.tokenizer.convert_tokens_to_ids(stop) in policy.end_ids
            raise UnfitTemplate(
                f"sampling.stop holds {stop!r}, a special token of this tokenizer and no text:"
                + (" it ends an answer anyway, so leave it out" if ends else
                   " name it in the policy's generation_config.json as eos_token_id")
            )  # fmt: skip


def refuse_unheard_system(policy: Templated) -> list[dict[str, str]]:
    """The messages that a prompt begins with. Raises `UnfitTemplate` if the template does not take a system prompt."""
    question = {"role": "user", "content": QUESTION}
    if not policy.system:
        return [question]
    asked = [{"role": "system", "content": policy.system}, question]
    try:
        heard = policy.system.strip() in policy.render(asked, True)
    except Exception as error:  # a template raises whatever its author chose
        raise UnfitTemplate(
            f"the chat template takes no system message ({error}): leave policy.system empty, and put it into the"
            " tasks' own prompts"
        ) from error
    if not heard:
        raise UnfitTemplate(
            "the chat template leaves the system message out: leave policy.system empty, and put it into the tasks'"
            " own prompts"
        )
    return asked


def unopened(policy: Templated, asked: list[dict[str, str]]) -> list[str]:
    """A template that does not begin the answer."""
    if policy.render(asked, True) != policy.render(asked, False):
        return []
    return [
        "the chat template writes the same with add_generation_prompt as without: the policy has to begin its turn"
        " itself, and its first tokens are learned as part of the answer"
    ]


def endless(policy: Templated, asked: list[dict[str, str]]) -> list[str]:
    """A template that ends turns by a token that ends no answer."""
    whole = policy.render([*asked, {"role": "assistant", "content": ANSWER}], False)
    after = whole.rpartition(ANSWER)[2]
    ids = policy.tokenizer(after, add_special_tokens=False)["input_ids"] if after.strip() else []
    first = ids[0] if ids else None
    if first is None or first in policy.end_ids or first not in policy.tokenizer.all_special_ids:
        return []
    token = policy.tokenizer.convert_ids_to_tokens(first)
    return [
        f"the chat template ends an answer by {token!r}, which is none of the policy's end-of-text tokens: answers go"
        " on until the token limit. Add its id to eos_token_id in generation_config.json"
    ]


def grown(policy: Templated, asked: list[dict[str, str]], answer: str) -> tuple[str, str]:
    """(a conversation up to an answer's end, the same with a further message) as texts."""
    said = {"role": "assistant", "content": answer}
    more = {"role": MORE.role, "content": MORE.content}
    return policy.render(asked, True) + answer, policy.render([*asked, said, more], True)


def other_borders(policy: Templated, asked: list[dict[str, str]]) -> list[str]:
    """Tokens that are others when a conversation is read whole."""
    before, whole = grown(policy, asked, ANSWER)
    opened = policy.render(asked, True)
    pieces = [opened, ANSWER, whole[len(before) :]]
    apart = [i for text in pieces for i in policy.tokenizer(text, add_special_tokens=False)["input_ids"]]
    if not whole.startswith(before) or apart == policy.tokenizer(whole, add_special_tokens=False)["input_ids"]:
        return []
    return [
        "a conversation that grows turn by turn has other tokens than the same one read whole (tokens merge across the"
        " template's borders): training sees the first, a server that encodes the whole conversation the second"
    ]


def forgets_thinking(policy: Templated, asked: list[dict[str, str]]) -> list[str]:
    """Thinking that is taken out of an answer once a message follows."""
    before, whole = grown(policy, asked, THOUGHT)
    if whole.startswith(before):
        return []
    return [
        "the chat template takes <think>…</think> out of earlier answers, and training keeps what was sampled: later"
        " turns are learned with earlier thinking in sight, and served without it"
    ]


__all__ = ["NotAppendOnly", "UnfitTemplate", "check_template"]
