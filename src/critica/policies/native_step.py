"""The decode step with the compiled kernels: rows need no grid, and dropping finished ones moves nothing."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from critica.policies.cache import Grid
from critica.policies.kernels import LANES, Kernels, blocked
from critica.policies.step import DecodeWeights, read_prompts

F = nn.functional


class NativeDecoding:
    """The state of one chunk of rows. `parents[i]` is row i's prompt, `slots[i]` its place in every layer's cache."""

    live_share = 0.97  # dropping costs a few small copies

    def __init__(
        self,
        weights: DecodeWeights,
        parents: Int[Tensor, "n"],
        lengths: Int[Tensor, "B"],
        stored: list[tuple[Tensor, Tensor]],
        steps: int,
    ) -> None:
        assert weights.native is not None
        self._kernels: Kernels = weights.native
        self._weights, self._stack = weights, weights.stack
        self._parents, self._lengths = parents, lengths
        self._slots = torch.arange(len(parents))
        self._prompts = [(blocked(keys), values) for keys, values in stored]
        stack, new = self._stack, weights.embedding.new_zeros
        rows, heads, size = len(parents), stack.key_heads, stack.head_width
        blocks = -(-steps // LANES)
        self._own = [(new((rows, heads, blocks, size, LANES)), new((rows, heads, steps, size))) for _ in stored]
        self._table = weights.rotations(torch.arange(int(lengths.max()) + steps))
        layer = weights.layers[0]
        widths = (stack.width, layer.qkv.out_features, stack.heads * size, layer.gate_up.out_features)
        self._buffers = [weights.embedding.new_empty((rows, width)) for width in (*widths, widths[-1] // 2)]

    @classmethod
    def prefill(
        cls, weights: DecodeWeights, prompts: Sequence[Sequence[int]], grid: Grid, steps: int
    ) -> tuple["NativeDecoding", Float[Tensor, "n D"]]:
        """Read every prompt once; returned with the final-normed state after each row's prompt."""
        lengths, stored, ends = read_prompts(weights, prompts)
        parents = torch.from_numpy(np.repeat(grid.parents, grid.size))
        return cls(weights, parents, lengths, stored, steps), ends[parents]

    def keep(self, slots: Int[np.ndarray, "kept"], written: int) -> Grid:
        """Drop every other row: the cache stays where it is."""
        kept = torch.from_numpy(slots)
        self._parents, self._slots = self._parents[kept], self._slots[kept]
        return flat_grid(self._parents.numpy())

    def step(self, tokens: Int[Tensor, "n"], at: int) -> Float[Tensor, "n D"]:
        """Read one token per row as the row's own token number `at`; the final-normed state after it."""
        kernels, weights, epsilon = self._kernels, self._weights, self._stack.epsilon
        rows = len(tokens)
        normed, joined, mixed, gate_up, inner = (buffer[:rows] for buffer in self._buffers)
        positions = self._lengths[self._parents] + at
        turns = (self._table[0][positions], self._table[1][positions])
        places = (self._parents, self._slots, self._lengths)
        x = F.embedding(tokens, weights.embedding)
        for layer, prompt, own in zip(weights.layers, self._prompts, self._own, strict=True):
            kernels.rms_norm(x, None, normed, None, epsilon)
            heads = layer.qkv.into(normed, joined)
            kernels.decode_attention(heads, layer.head_norm, turns, places, prompt, own, mixed, at, epsilon)
            layer.output.add(mixed, x)
            kernels.rms_norm(x, None, normed, None, epsilon)
            layer.down.add(kernels.swiglu(layer.gate_up.into(normed, gate_up), inner), x)
        out = torch.empty_like(x)
        kernels.rms_norm(x, weights.final_norm, out, None, epsilon)
        return out


def flat_grid(owners: Int[np.ndarray, "n"]) -> Grid:
    """Every row a subgroup of its own, in the order given."""
    return Grid(owners, np.arange(len(owners)), 1)
