"""One decode step for every row at once, in as few and as large operations as possible, and the prefill before it."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from critica.policies.cache import Grid, LayerCache, arrange, fresh
from critica.policies.families import Layer, Stack
from critica.policies.kernels import kernels_for
from critica.policies.projections import Projection, Separate, join

F = nn.functional
COPIED_BYTES = 1 << 30  # larger models keep their weights as they are
PREFILL_TOKENS = 1 << 14


class DecodeLayer:
    """One layer's products. A norm weight is None where it was folded into the product that follows."""

    def __init__(self, stack: Stack, layer: Layer, folded: bool, paired: bool, packed: bool) -> None:
        attention, mlp = layer.attention_norm.weight.detach(), layer.mlp_norm.weight.detach()  # type: ignore[operator]
        inner = (layer.query, layer.key, layer.value)
        self.attention_norm = None if folded else attention
        self.mlp_norm = None if folded else mlp
        self.head_norm: Float[Tensor, "heads d"] | None = None
        order = interleaved(stack) if paired else None
        if layer.query_norm is not None and layer.key_norm is not None:
            weights = [layer.query_norm.weight] * stack.heads + [layer.key_norm.weight] * stack.key_heads
            norm = torch.stack(weights).detach()
            self.head_norm = norm.unflatten(-1, (2, -1)).mT.flatten(-2).contiguous() if paired else norm
        self.qkv: Projection | Separate
        self.gate_up: Projection | Separate
        if folded:
            self.qkv = join(inner, packed, attention, order)
            self.gate_up = join((layer.gate, layer.up), packed, mlp)
            self.output: Projection | Separate = join((layer.output,), packed)
            self.down: Projection | Separate = join((layer.down,), packed)
        else:
            self.qkv, self.gate_up = Separate(inner), Separate((layer.gate, layer.up))
            self.output, self.down = Separate((layer.output,)), Separate((layer.down,))


def interleaved(stack: Stack) -> Int[Tensor, "out"]:
    """Row order of the joined projection in which rotary pairs are neighbors, so that a rotation is a complex product.

    Queries and keys are permuted alike, which leaves every q k unchanged; values keep their order.
    """
    size, turned = stack.head_width, stack.heads + stack.key_heads
    pairs = torch.arange(size, device=stack.device).view(2, -1).t().reshape(-1)
    heads = torch.arange(turned, device=stack.device).unsqueeze(1) * size
    rest = torch.arange(turned * size, (turned + stack.key_heads) * size, device=stack.device)
    return torch.cat([(heads + pairs).reshape(-1), rest])


class DecodeWeights:
    """A stack's weights, read for one call of the decoder.

    `folded`: norm weights are multiplied into the products that follow. `native`: the compiled kernels run the rest
    of the layer. `paired`: without them, rotary pairs are made neighbors.
    """

    def __init__(self, stack: Stack, packed: bool, native: bool = True) -> None:
        linears = [linear for layer in stack.layers for linear in layer.linears]
        held = sum(p.numel() * p.element_size() for linear in linears for p in linear.parameters())
        self.folded = stack.dtype in (torch.float32, torch.float64) and held <= COPIED_BYTES
        self.stack = stack
        self.embedding = stack.embedding.weight.detach()  # type: ignore[operator]
        self.native = kernels_for(self.embedding) if native and self.folded else None
        self.paired = self.folded and self.native is None
        self.layers = [DecodeLayer(stack, layer, self.folded, self.paired, packed) for layer in stack.layers]
        self.final_norm = stack.final_norm.weight.detach()  # type: ignore[operator]
        self._head: Projection | Separate | None = None
        if stack.head is not None:
            self._head = join((stack.head,), packed) if self.folded else Separate((stack.head,))
        self.result_dtype = torch.float64 if stack.dtype == torch.float64 else torch.float32

    @property
    def head(self) -> "Projection | Separate":
        """What turns states into logits. Raises ValueError for a body without one, which can only be read."""
        if self._head is None:
            raise ValueError("the decoder needs a language model with a head; this stack has none")
        return self._head

    @property
    def vocabulary(self) -> int:
        """V, the number of logits."""
        return self.head.out_features

    def logits(self, hidden: Float[Tensor, "n D"]) -> Float[Tensor, "n V"]:
        """A fresh tensor: the caller may write into it."""
        made = hidden.new_empty((hidden.shape[0], self.vocabulary))
        return self.head.into(hidden, made)

    def rotations(self, positions: Int[Tensor, "n"]) -> tuple[Tensor, Tensor]:
        """cos + i sin as one complex tensor when paired (and an empty one), else cos and sin."""
        angles = positions.float().unsqueeze(1) * self.stack.inverse_frequencies()
        if self.paired:
            wide = angles.cos().to(self.stack.dtype), angles.sin().to(self.stack.dtype)
            return torch.complex(*wide), angles.new_zeros(0)
        return angles.cos().to(self.stack.dtype), angles.sin().to(self.stack.dtype)


class Decoding:
    """The state of one chunk of rows in torch's own operations: where each row is, and every layer's cache."""

    live_share = 0.75  # finished rows are dropped, which moves the cache, once at most this share still writes

    def __init__(
        self, weights: DecodeWeights, grid: Grid, prompt_lengths: Tensor, caches: list[LayerCache], steps: int
    ) -> None:
        self._weights = weights
        self._stack = weights.stack
        self._prompt_lengths = prompt_lengths
        self._caches = caches
        top = int(prompt_lengths.max()) + steps
        self._table = weights.rotations(torch.arange(top, device=prompt_lengths.device))
        self._settle(grid)

    def _settle(self, grid: Grid) -> None:
        """Take a grid: positions, the mask over padded prompts, and buffers of the right size."""
        stack, weights = self._stack, self._weights
        self._grid = grid
        parents = torch.from_numpy(grid.parents).to(self._prompt_lengths.device)
        lengths = self._prompt_lengths[parents]
        self._start = lengths.repeat_interleave(grid.size)
        width = self._caches[0].prompt_keys.shape[2]
        beyond = torch.arange(width, device=lengths.device) >= lengths.unsqueeze(1)
        self._bias = None
        if bool(beyond.any()):
            bias = torch.zeros(beyond.shape, dtype=stack.dtype, device=lengths.device)
            bias.masked_fill_(beyond, -torch.inf)
            self._bias = bias.repeat_interleave(stack.key_heads, 0).unsqueeze(1)
        rows = len(grid.rows)
        new = weights.embedding.new_empty
        layer = weights.layers[0]
        self._normed = new((rows, stack.width))
        self._qkv = new((rows, layer.qkv.out_features))
        shape = (len(grid.parents), stack.key_heads, grid.size, stack.heads // stack.key_heads, stack.head_width)
        self._query = new(shape)
        self._mixed = new((rows, stack.heads * stack.head_width))
        self._gate_up = new((rows, layer.gate_up.out_features))
        self._inner = new((rows, layer.gate_up.out_features // 2))

    @classmethod
    def prefill(
        cls, weights: DecodeWeights, prompts: Sequence[Sequence[int]], grid: Grid, steps: int
    ) -> tuple["Decoding", Float[Tensor, "slots D"]]:
        """Read every prompt once; returned with the final-normed state after each slot's prompt."""
        lengths, stored, ends = read_prompts(weights, prompts)
        parents = torch.from_numpy(grid.parents).to(ends.device).repeat_interleave(grid.size)
        state = cls(weights, grid, lengths, fresh(stored, grid, steps), steps)
        return state, ends[parents]

    def keep(self, slots: Int[np.ndarray, "kept"], written: int) -> Grid:
        """Drop every other slot; the returned grid's `rows` number the kept ones in the order given."""
        old = self._grid
        grid = arrange(old.parents[slots // old.size], np.arange(len(slots)))
        source = torch.from_numpy(slots[grid.filled]).to(self._start.device)
        for cache in self._caches:
            cache.regroup(grid, source, old.size, written)
        self._settle(grid)
        return grid

    def step(self, tokens: Int[Tensor, "slots"], at: int) -> Float[Tensor, "slots D"]:
        """Read one token per slot as the row's own token number `at`; the final-normed state after it."""
        weights, stack, grid = self._weights, self._stack, self._grid
        x = F.embedding(tokens, weights.embedding)
        rotation = tuple(part[self._start + at] if part.numel() else part for part in self._table)
        queries, keys = (
            tuple(part.view(-1, grid.size, *[1] * extra, part.shape[-1]) if part.numel() else part for part in rotation)
            for extra in (2, 1)
        )
        queries = tuple(part * stack.head_width**-0.5 for part in queries)
        for layer, cache in zip(weights.layers, self._caches, strict=True):
            _norm(x, layer.attention_norm, stack.epsilon, self._normed)
            heads = layer.qkv.into(self._normed, self._qkv).view(x.shape[0], -1, stack.head_width)
            self._turn(layer, cache, heads, queries, keys, at)
            layer.output.add(self._attend(cache, at + 1), x)
            _norm(x, layer.mlp_norm, stack.epsilon, self._normed)
            layer.down.add(_gated(layer.gate_up.into(self._normed, self._gate_up), self._inner), x)
        return _norm(x, weights.final_norm, stack.epsilon, torch.empty_like(x))

    def _turn(self, layer: DecodeLayer, cache: LayerCache, heads: Tensor, queries: tuple, keys: tuple, at: int) -> None:
        """Norm and rotate the new queries into their buffer and the new keys and values into the cache."""
        stack, grid = self._stack, self._grid
        turned = heads[:, : stack.heads + stack.key_heads]
        if layer.head_norm is not None:
            turned = _head_norm(turned, layer.head_norm, stack.epsilon)
        split = turned.view(-1, grid.size, stack.heads + stack.key_heads, stack.head_width)
        query = split[:, :, : stack.heads].unflatten(2, (stack.key_heads, -1))
        own_key, own_value = (part[:, :, :, at].transpose(1, 2) for part in (cache.keys, cache.values))
        rotate = _rotate_pairs if self._weights.paired else _rotate_halves
        rotate(query, *queries, self._query.transpose(1, 2))
        rotate(split[:, :, stack.heads :], *keys, own_key)
        own_value.copy_(heads[:, stack.heads + stack.key_heads :].view(own_value.shape))

    def _attend(self, cache: LayerCache, written: int) -> Float[Tensor, "slots HD"]:
        """softmax over the shared prompt and the own tokens together; siblings read the prompt in one product."""
        query = self._query
        groups, heads, size, shared, width = query.shape
        prompt = cache.shared_keys.shape[1]
        keys, values = (part.view(-1, part.shape[3], width)[:, :written] for part in (cache.keys, cache.values))
        ahead = torch.bmm(query.view(groups * heads, size * shared, width), cache.shared_keys.transpose(1, 2))
        if self._bias is not None:
            ahead.add_(self._bias)
        own = torch.bmm(query.view(-1, shared, width), keys.transpose(1, 2))
        weights = torch.cat([ahead.view(-1, shared, prompt), own], -1).softmax(-1)
        for_prompt = weights.view(groups * heads, size * shared, prompt + written)[..., :prompt]
        mixed = torch.bmm(for_prompt, cache.shared_values)
        mixed.view(-1, shared, width).baddbmm_(weights[..., prompt:], values)
        out = self._mixed.view(groups, size, heads, shared, width)
        out.copy_(mixed.view(groups, heads, size, shared, width).transpose(1, 2))
        return self._mixed


def read_prompts(
    weights: DecodeWeights, prompts: Sequence[Sequence[int]]
) -> tuple[Int[Tensor, "B"], list[tuple[Tensor, Tensor]], Float[Tensor, "B D"]]:
    """Read every prompt once: lengths, each layer's keys and values [B K P d], and the final-normed state after it."""
    stack = weights.stack
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=stack.device)
    width = int(lengths.max())
    shape = (len(prompts), stack.key_heads, width, stack.head_width)
    stored = [(weights.embedding.new_zeros(shape), weights.embedding.new_zeros(shape)) for _ in stack.layers]
    count = max(1, PREFILL_TOKENS // width)
    ends = [
        _prefill(weights, prompts[a : a + count], [(k[a : a + count], v[a : a + count]) for k, v in stored])
        for a in range(0, len(prompts), count)
    ]
    return lengths, stored, torch.cat(ends)


def _prefill(
    weights: DecodeWeights, prompts: Sequence[Sequence[int]], stored: list[tuple[Tensor, Tensor]]
) -> Float[Tensor, "B D"]:
    """Packed tokens through the layers, keys and values into `stored` [B K P d]; the state after each prompt."""
    stack = weights.stack
    device = stack.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    width = stored[0][0].shape[2]
    tokens = torch.tensor([token for prompt in prompts for token in prompt], device=device)
    slots = (torch.arange(width, device=device) < lengths.unsqueeze(1)).flatten().nonzero().squeeze(-1)
    x = F.embedding(tokens, weights.embedding)
    rotation = tuple(part.unsqueeze(1) if part.numel() else part for part in weights.rotations(slots % width))
    turned = stack.heads + stack.key_heads
    rotate = _rotate_pairs if weights.paired else _rotate_halves
    for layer, (keys, values) in zip(weights.layers, stored, strict=True):
        normed = _norm(x, layer.attention_norm, stack.epsilon, torch.empty_like(x))
        heads = layer.qkv.into(normed, x.new_empty((x.shape[0], layer.qkv.out_features)))
        heads = heads.view(x.shape[0], -1, stack.head_width)
        both = heads[:, :turned]
        if layer.head_norm is not None:
            both = _head_norm(both, layer.head_norm, stack.epsilon)
        rotated = torch.empty_like(both, memory_format=torch.contiguous_format)
        rotate(both, *rotation, rotated)
        grids = [
            part.new_zeros((len(prompts) * width, *part.shape[1:])).index_copy_(0, slots, part)
            .view(len(prompts), width, *part.shape[1:]).transpose(1, 2)
            for part in (rotated[:, : stack.heads], rotated[:, stack.heads :], heads[:, turned:])
        ]  # fmt: skip
        keys.copy_(grids[1])
        values.copy_(grids[2])
        mixed = F.scaled_dot_product_attention(*grids, is_causal=True, enable_gqa=True)
        flat = mixed.transpose(1, 2).reshape(len(prompts) * width, -1).index_select(0, slots)
        layer.output.add(flat, x)
        normed = _norm(x, layer.mlp_norm, stack.epsilon, normed)
        gate_up = layer.gate_up.into(normed, x.new_empty((x.shape[0], layer.gate_up.out_features)))
        layer.down.add(_gated(gate_up, x.new_empty((x.shape[0], gate_up.shape[1] // 2))), x)
    last = x[lengths.cumsum(0) - 1]
    return _norm(last, weights.final_norm, stack.epsilon, torch.empty_like(last))


def _scale(x: Tensor, epsilon: float) -> Tensor:
    """1 / sqrt(mean x^2 + epsilon) over the last dimension, in fp32 or better."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    return norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()


def _norm(x: Tensor, weight: Tensor | None, epsilon: float, out: Tensor) -> Tensor:
    scale = _scale(x, epsilon)
    if scale.dtype == x.dtype:
        torch.mul(x, scale, out=out)
    else:
        out.copy_(x * scale)
    return out if weight is None else out.mul_(weight)


def _head_norm(turned: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    scale = _scale(turned, epsilon)
    return (turned * scale).to(turned.dtype).mul_(weight)


def _gated(gate_up: Tensor, out: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return torch.ops.aten.silu.out(gate, out=out).mul_(up)


def _rotate_pairs(x: Tensor, turn: Tensor, _: Tensor, out: Tensor) -> None:
    """Neighboring pairs as complex numbers times cos + i sin."""
    pairs, made = (torch.view_as_complex(part.unflatten(-1, (-1, 2))) for part in (x, out))
    torch.mul(pairs, turn, out=made)


def _rotate_halves(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    first, second = x.chunk(2, -1)
    half = first.shape[-1]
    out[..., :half].copy_(first * cos - second * sin)
    out[..., half:].copy_(second * cos + first * sin)
