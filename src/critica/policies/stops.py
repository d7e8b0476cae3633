"""Texts that end an answer, found across the borders of tokens while it is written."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from critica.policies.base import SampleLimits
from critica.policies.sampling import stop_table

TextOf = Callable[[Sequence[int]], str]
SPARE_TOKENS = 4  # letters may be cut at both ends of a window: up to four bytes, each a token


class Stops:
    """Looks for stop strings in what rows have just written. Nothing is decoded but after a token that could end one.

    Such a token is looked up in a table; of its row as many last tokens are read as a stop string has bytes, and a
    few more, and their text is searched. Special tokens are no text: one that ends answers belongs into the
    tokenizer's or the generation config's end-of-text ids.
    """

    def __init__(self, stops: tuple[str, ...], text_of: TextOf, vocabulary: int, device: torch.device) -> None:
        self.strings, self._text_of = stops, text_of
        self._table = stop_table(stops, text_of, vocabulary, device)
        self.window = max(len(stop.encode()) for stop in stops) + SPARE_TOKENS

    def found(self, last: Sequence[int]) -> bool:
        """Whether the text of a row's last tokens holds one."""
        text = self._text_of(last[-self.window :])
        return any(stop in text for stop in self.strings)

    def suspects(self, tokens: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Where one may have just been completed."""
        return self._table[tokens]

    def said(
        self,
        tokens: Int[Tensor, "n"],
        writing: Bool[Tensor, "n"],
        last: Callable[[Int[Tensor, "k"], int], list[list[int]]],
    ) -> Bool[Tensor, "n"] | None:
        """The slots that have just completed one; None if none has. `last` gives the last tokens of slots."""
        slots = (self.suspects(tokens) & writing).nonzero().squeeze(-1)
        if not len(slots):
            return None
        ended = torch.tensor([self.found(row) for row in last(slots, self.window)], device=slots.device)
        return torch.zeros_like(writing).index_copy_(0, slots, ended) if bool(ended.any()) else None


def stops_of(limits: SampleLimits, stops: Stops | None) -> Stops | None:
    """What looks for the stop strings of this call, if it has any. Raises ValueError if nobody can."""
    if limits.stop and (stops is None or stops.strings != limits.stop):
        raise ValueError("stop strings are looked for in text, and this decoder was not told how to read its tokens")
    return stops if limits.stop else None
