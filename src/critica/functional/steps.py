"""Answers cut into steps: lines, sentences, or runs of so many tokens; a step is a node over which credit is passed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")
CLOSERS = "\"')]}*_»”’"


@dataclass(frozen=True, slots=True)
class Steps:
    """What a step of an answer is.

    `lines` end with a token that holds a line break; `sentences` with one that ends in . ! ? (quotes and brackets
    aside) and is followed by white space or nothing, or that holds a line break; `tokens` after `tokens` sampled
    tokens, whatever they say. A step never spans a context turn. Lines and sentences need text: answers without a
    mark are one step, and code or lists are cut badly; then count tokens.
    """

    unit: Literal["lines", "sentences", "tokens"] = "lines"
    tokens: int = 16

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"steps.tokens counts the tokens of a step, got {self.tokens}; give at least 1")

    def number(self, sampled_mask: Bool[Tensor, "N T"], texts: Sequence[tuple[str, ...]]) -> Int[Tensor, "N T"]:
        """The step of each sampled token, counted from 0 in each row; -1 elsewhere. `texts`: those of valid tokens."""
        if self.unit == "tokens":
            return token_runs(sampled_mask, self.tokens)
        ends = torch.zeros_like(sampled_mask)
        for row, words in enumerate(texts):
            for place in sampled_mask[row].nonzero()[:, 0].tolist():
                later = place + 1 < sampled_mask.shape[1] and bool(sampled_mask[row, place + 1])
                following = words[place + 1] if later else ""
                text = words[place]
                closes = closes_sentence(text, following) if self.unit == "sentences" else "\n" in text
                ends[row, place] = closes or not later
        return steps_after(ends, sampled_mask)


def closes_sentence(text: str, following: str) -> bool:
    """Whether a token of this text ends a sentence, given the text of the next one ("" if there is none)."""
    if "\n" in text:
        return True
    marked = text.rstrip().rstrip(CLOSERS).endswith(SENTENCE_ENDS)
    return marked and (not following or following[0].isspace() or text[-1].isspace())


def token_runs(sampled_mask: Bool[Tensor, "N T"], tokens: int) -> Int[Tensor, "N T"]:
    """Runs of `tokens` sampled tokens, numbered from 0 in each row; the last may be shorter; -1 elsewhere."""
    rank = sampled_mask.long().cumsum(-1) - 1
    return torch.where(sampled_mask, torch.div(rank, tokens, rounding_mode="floor"), -1)


def steps_after(ends: Bool[Tensor, "N T"], sampled_mask: Bool[Tensor, "N T"]) -> Int[Tensor, "N T"]:
    """Number each sampled token by how many marked ones stand before it in its row; -1 elsewhere."""
    marked = (ends & sampled_mask).long()
    return torch.where(sampled_mask, marked.cumsum(-1) - marked, -1)


def step_starts(nodes: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Bool[Tensor, "N T"]:
    """Which masked tokens are the first of their step."""
    seen = torch.where(mask, nodes, -1).cummax(-1).values
    before = torch.cat((torch.full_like(seen[:, :1], -1), seen), -1)[:, : seen.shape[1]]
    return mask & (nodes > before)


def step_sums(
    values: Float[Tensor, "N T"], nodes: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]
) -> Float[Tensor, "N T"]:
    """The sum of the masked values of each step, at the step's first masked token; zero elsewhere. Differentiable."""
    if not bool(mask.any()):
        return torch.zeros_like(values)
    kept = torch.where(mask, values, torch.zeros_like(values))
    index = nodes.clamp(min=0)
    totals = kept.new_zeros(nodes.shape[0], int(index.max()) + 1).scatter_add(1, index, kept)
    return torch.where(step_starts(nodes, mask), totals.gather(1, index), torch.zeros_like(kept))


def over_steps(
    values: Float[Tensor, "N T"], nodes: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]
) -> Float[Tensor, "N T"]:
    """Every masked token gets what stands at the first token of its step; zero elsewhere. Differentiable."""
    starts = step_starts(nodes, mask)
    place = torch.arange(nodes.shape[1], device=nodes.device)
    head = torch.where(starts, place, 0).cummax(-1).values
    return torch.where(mask, values.gather(1, head), torch.zeros_like(values))


def rank_in_step(nodes: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Int[Tensor, "N T"]:
    """How many masked tokens of its own step stand before each masked token; -1 elsewhere."""
    counted = mask.long().cumsum(-1)
    before = torch.where(step_starts(nodes, mask), counted, 0).cummax(-1).values
    return torch.where(mask, counted - before, -1)
