"""What a hand on the decoder is shown of a running batch: the rows that still write, numbered over the whole call."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.policies.base import DecodeControl, DecodeHand, DecodeWatch


class Shown(ABC):
    """One chunk's side of a hand: `first` is the number of the chunk's first row."""

    @abstractmethod
    def ask(
        self, hidden: Float[Tensor, "n D"], logits: Float[Tensor, "n V"], live: Int[Tensor, "n"], writing: Tensor
    ) -> Float[Tensor, "n V"]:
        """The logits to draw from."""

    @abstractmethod
    def tell(
        self,
        hidden: Float[Tensor, "n D"],
        logits: Float[Tensor, "n V"],
        chosen: Int[Tensor, "n"],
        live: Int[Tensor, "n"],
        writing: Bool[Tensor, "n"],
    ) -> Bool[Tensor, "n"] | None:
        """Which slots stop, now that their token is drawn; None if none does."""


class _Controlled(Shown):
    """It may change the logits: asked before the draw, told after it, and shown no slot that does not write."""

    def __init__(self, control: DecodeControl, first: int) -> None:
        self._control, self._first = control, first
        self._stopped = torch.zeros(0, dtype=torch.bool)

    def ask(self, hidden: Tensor, logits: Tensor, live: Tensor, writing: Tensor) -> Tensor:
        slots = writing.nonzero().squeeze(-1)
        changed, stop = self._control.on_logits(hidden[slots], logits[slots], live[slots] + self._first)
        self._stopped = stop
        return logits.index_copy(0, slots, changed.to(logits.dtype))

    def tell(self, hidden: Tensor, logits: Tensor, chosen: Tensor, live: Tensor, writing: Tensor) -> Tensor | None:
        slots = writing.nonzero().squeeze(-1)
        stop = self._stopped | self._control.on_tokens(chosen[slots], live[slots] + self._first)
        return torch.zeros_like(writing).index_copy_(0, slots, stop) if bool(stop.any()) else None


class _Watched(Shown):
    """It changes nothing: told once, with all slots as they are."""

    def __init__(self, watch: DecodeWatch, first: int) -> None:
        self._watch, self._first = watch, first

    def ask(self, hidden: Tensor, logits: Tensor, live: Tensor, writing: Tensor) -> Tensor:
        return logits

    def tell(self, hidden: Tensor, logits: Tensor, chosen: Tensor, live: Tensor, writing: Tensor) -> Tensor | None:
        return self._watch.on_drawn(hidden, logits, chosen, live + self._first if self._first else live, writing)


def shown(hand: DecodeHand, first: int) -> Shown:
    """The hand for a chunk whose first row has this number."""
    return _Watched(hand, first) if isinstance(hand, DecodeWatch) else _Controlled(hand, first)
