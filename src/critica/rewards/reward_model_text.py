"""What a model reads when it judges an answer: prompt and answer as tokens, and where the answer's characters are."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from critica.records.words import Message

PLACEHOLDER = "CRITICAxANSWERxHERE"


class RewardModelProblem(ValueError):
    """A folder cannot serve as a judge of answers; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The tokens of one judged text. The answer's are token_ids[start : start + len(ends)], start at least 1.

    `ends[k]` counts the characters of the answer that are written after its k-th token; it never falls, and ends at
    the answer's length.
    """

    token_ids: tuple[int, ...]
    start: int
    ends: tuple[int, ...]

    @property
    def stop(self) -> int:
        """One behind the answer's last token."""
        return self.start + len(self.ends)

    def last_token(self, end: int) -> int:
        """The place of the token with which the answer's first `end` characters are written."""
        return self.start + min(bisect_left(self.ends, end), len(self.ends) - 1)


def read_text(tokenizer: Any, messages: Sequence[Message], answer: str) -> Reading:
    """The judged text: by the tokenizer's chat template if it has one, else the contents by line and the answer.

    Only the template speaks special tokens: one that an answer spells, such as an end of turn, stays text. Without a
    template the tokenizer's own opening and closing tokens are put around the whole. Raises `RewardModelProblem` for a
    template that has no place for the answer, and for a tokenizer that cannot say where its tokens are.
    """
    before, after = _frame(tokenizer, messages)
    if not before:
        raise RewardModelProblem("the prompt has no tokens under this tokenizer: nothing can be judged without one")
    if not tokenizer.is_fast:
        raise RewardModelProblem(
            f"{type(tokenizer).__name__} does not say where its tokens are in the text: save the folder with a fast"
            " tokenizer (tokenizer.json)"
        )
    made = tokenizer(answer, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    ends, longest = [], 0
    for _, end in made["offset_mapping"]:
        longest = max(longest, end)
        ends.append(longest)
    if ends:
        ends[-1] = len(answer)  # what no token stands for, such as white space at the end, goes with the last
    return Reading((*before, *made["input_ids"], *after), len(before), tuple(ends))


def _frame(tokenizer: Any, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """The tokens before and after the answer."""
    if not tokenizer.chat_template:
        text = "\n".join(message.content for message in messages)
        ids = list(tokenizer(text, split_special_tokens=True)["input_ids"])
        bare = list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        found = (k + len(bare) for k in range(len(ids) - len(bare) + 1) if ids[k : k + len(bare)] == bare)
        cut = next(found, len(ids)) if bare else len(ids)
        return ids[:cut], ids[cut:]
    told = [{"role": message.role, "content": message.content} for message in messages]
    told.append({"role": "assistant", "content": PLACEHOLDER})
    text = tokenizer.apply_chat_template(told, tokenize=False)
    pieces = text.split(PLACEHOLDER)
    if len(pieces) != 2:
        raise RewardModelProblem(
            f"the chat template shows an assistant's answer {len(pieces) - 1} times, and exactly once is needed:"
            " take a tokenizer with a chat template that ends on the answer, or none"
        )
    before, after = (tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in pieces)
    return list(before), list(after)


def buckets(lengths: Sequence[int], cells: int) -> list[list[int]]:
    """Indices cut into batches of similar length: rows x longest is at most `cells`, or the batch is a single row."""
    made: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if made and lengths[index] * (len(made[-1]) + 1) <= cells:  # lengths rise, so the newest is the longest
            made[-1].append(index)
        else:
            made.append([index])
    return made


def padded(readings: Sequence[Reading], pad: int) -> tuple[Int[Tensor, "N T"], Bool[Tensor, "N T"]]:
    """Token ids, padded on the right, and which of them are real."""
    width = max(len(reading.token_ids) for reading in readings)
    ids = torch.full((len(readings), width), pad, dtype=torch.long)
    mask = torch.zeros(len(readings), width, dtype=torch.bool)
    for row, reading in enumerate(readings):
        size = len(reading.token_ids)
        ids[row, :size], mask[row, :size] = torch.tensor(reading.token_ids), True
    return ids, mask
