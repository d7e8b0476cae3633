"""A body that reads along while somebody else writes: every prompt once, then token by token, with a cache of its own.

It answers what a writer's own decoder cannot: the state after a token that was *not* written. A look ahead costs one
decode step per candidate and leaves no trace: the next step writes the same place of the cache again.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.policies.cache import arrange
from critica.policies.families import Stack
from critica.policies.native_step import NativeDecoding, flat_grid
from critica.policies.step import DecodeWeights, Decoding


class Follower:
    """The states of one stack along rows that grow together. `prompts[owners[i]]` is the prompt of row i.

    Rows may be dropped, never added; `steps` bounds the tokens that may follow. Weights are read when it is made.
    """

    @torch.inference_mode()
    def __init__(
        self, stack: Stack, prompts: Sequence[tuple[int, ...]], owners: Sequence[int], steps: int, packed: bool = False
    ) -> None:
        weights = DecodeWeights(stack, packed)
        places = np.asarray(owners, dtype=np.int64)
        self._at = 0
        self._slots = torch.arange(len(places), device=stack.device)  # slot of each row
        self._decoding: Decoding | NativeDecoding
        if weights.native is not None:
            self._decoding, states = NativeDecoding.prefill(weights, prompts, flat_grid(places), steps)
            self._width = len(places)
        else:
            grid = arrange(places, np.arange(len(places)))
            self._decoding, states = Decoding.prefill(weights, prompts, grid, steps)
            self._settle(grid.rows)
        self.states: Float[Tensor, "n D"] = states[self._slots]  # after the last token that each row has read

    def _settle(self, rows: Int[np.ndarray, "slots"]) -> None:
        """Where each row is, in a grid that may have more slots than rows."""
        self._width = len(rows)
        found = np.flatnonzero(rows >= 0)
        slots = np.empty(len(found), dtype=np.int64)
        slots[rows[found]] = found
        self._slots = torch.from_numpy(slots).to(self._slots.device)

    @torch.inference_mode()
    def ahead(self, tokens: Int[Tensor, "n k"]) -> Float[Tensor, "n k D"]:
        """The state after each of k candidates for every row's next token, one decode step each; nothing is kept."""
        return torch.stack([self._step(column) for column in tokens.unbind(-1)], 1)

    @torch.inference_mode()
    def read(self, tokens: Int[Tensor, "n"]) -> None:
        """These are the rows' next tokens."""
        self.states = self._step(tokens)
        self._at += 1

    @torch.inference_mode()
    def keep(self, rows: Int[Tensor, "kept"]) -> None:
        """Go on with these rows alone, in this order."""
        rows = rows.to(self._slots.device)
        grid = self._decoding.keep(self._slots[rows].cpu().numpy(), self._at)
        self.states = self.states[rows]
        if isinstance(self._decoding, NativeDecoding):
            self._width, self._slots = len(rows), torch.arange(len(rows), device=self._slots.device)
        else:
            self._settle(grid.rows)

    def _step(self, tokens: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        every = tokens.new_zeros(self._width)
        every[self._slots] = tokens
        return self._decoding.step(every, self._at)[self._slots]
