"""The training forward: packed tokens, each shared prompt computed once, exact gradients in the model's own weights."""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from critica.functional import logprobs
from critica.functional.head import pays
from critica.policies.body_mode import PLAIN, BodyMode, device_of
from critica.policies.families import Layer, Stack, base_model, is_plain, read_stack, supports
from critica.policies.follower import Follower
from critica.policies.layout import Block, Layout, plan_layout
from critica.policies.operators import collect, embed, norm_rotate, rms_norm, spread, swiglu
from critica.records.arrays import TokenBatch

F = nn.functional


class HiddenForward:
    """Tokens to final-normed states, through the packed path when the family is known, else through the model."""

    def __init__(self, model: nn.Module, mode: BodyMode = PLAIN) -> None:
        self._model, self.mode = model, mode
        self._reason = supports(model)
        if mode.checkpoint and self._reason:
            raise ValueError(
                f"policy.checkpoint_layers=true needs a family that is read layer by layer: {self._reason}; set it to"
                " false and lower learner.tokens_per_microbatch"
            )
        self._stack = None if self._reason else read_stack(model)
        if self._reason:
            warnings.warn(
                f"{type(base_model(model)).__name__} runs through transformers' padded forward, which is slower: "
                f"{self._reason}",
                stacklevel=2,
            )

    @property
    def stack(self) -> Stack | None:
        """The stack that the packed path reads; None on the padded path."""
        return self._stack

    @property
    def reason(self) -> str | None:
        """Why the packed path is not taken."""
        return self._reason

    def sampled_states(self, batch: TokenBatch) -> Float[Tensor, "S D"]:
        """The state before each sampled token, row-major."""
        if self._stack is None:
            return logprobs.states_before(self._padded(batch), batch.sampled_mask)
        layout = plan_layout(batch, with_final=False)
        return _final_norm(self._stack, self._run(layout), layout.before)

    def final_states(self, batch: TokenBatch) -> Float[Tensor, "N D"]:
        """The state after each row's last valid token."""
        if self._stack is None:
            return logprobs.final_states(self._padded(batch), batch.valid_mask)
        layout = plan_layout(batch, with_final=True)
        return _final_norm(self._stack, self._run(layout), layout.last)

    def sampled_and_final_states(self, batch: TokenBatch) -> tuple[Float[Tensor, "S D"], Float[Tensor, "N D"]]:
        """Both, from one pass."""
        if self._stack is None:
            hidden = self._padded(batch)
            return logprobs.states_before(hidden, batch.sampled_mask), logprobs.final_states(hidden, batch.valid_mask)
        layout = plan_layout(batch, with_final=True)
        states = _final_norm(self._stack, self._run(layout), torch.cat([layout.before, layout.last]))
        sampled, final = states.split([layout.before.shape[0], layout.last.shape[0]])
        return sampled, final

    def layer_states(self, batch: TokenBatch, depth: float) -> Float[Tensor, "S D"]:
        """The state before each sampled token `depth` of the way up (logit lens), see `sampled_and_inner_states`."""
        stack = self._readable()
        layout = plan_layout(batch, with_final=False)
        return _final_norm(stack, self._run(layout, _layer_at(stack, depth)), layout.before)

    def sampled_and_inner_states(
        self, batch: TokenBatch, depths: Sequence[float]
    ) -> tuple[Float[Tensor, "S D"], tuple[Float[Tensor, "S D"], ...]]:
        """`sampled_states`, and the states at these depths, from one pass.

        A depth is a share of the layers, rounded to a whole layer and at least the first. Inner states go through the
        final norm, whose weight gets no gradient from them: what they teach stays below them. Raises ValueError on the
        padded path.
        """
        stack = self._readable()
        layout = plan_layout(batch, with_final=False)
        taps = {_layer_at(stack, depth): torch.empty(0) for depth in depths}
        top = _final_norm(stack, self._run(layout, taps=taps), layout.before)
        weight = stack.final_norm.weight.detach()
        inner = (taps[_layer_at(stack, depth)].index_select(0, layout.before) for depth in depths)
        return top, tuple(rms_norm(states, weight, stack.epsilon) for states in inner)

    def _run(
        self, layout: Layout, last: int | None = None, taps: dict[int, Tensor] | None = None
    ) -> Float[Tensor, "M D"]:
        """Every layer over the packed tokens, or those up to the `last`-th; the result is not yet normed.

        `taps` is filled with what stands after the layers that it names, counted from 1.
        """
        stack, remake = self._readable(), self.mode.checkpoint and torch.is_grad_enabled()
        with self.mode.computing(stack.device):
            x = self._embedded(layout.token_ids, stack.embedding.weight)
            angles = layout.positions.to(x.device).float().unsqueeze(1) * stack.inverse_frequencies()
            turns = (angles.cos().to(x.dtype), angles.sin().to(x.dtype))
            for number, layer in enumerate(stack.layers[:last], 1):
                given = (stack, layer, layout, x, turns)
                if remake:  # dropout in adapters must draw the same masks again
                    x = checkpoint(_layer, *given, use_reentrant=False, preserve_rng_state=self._model.training)
                else:
                    x = _layer(*given)
                if taps is not None and number in taps:
                    taps[number] = x
        return x

    def _embedded(self, token_ids: Tensor, weight: Tensor) -> Float[Tensor, "M D"]:
        """The tokens' rows; where the vocabulary is large enough that the head is read in chunks, see `embed`."""
        if self.mode.into_grad and weight.requires_grad and pays(len(token_ids), weight.shape[0]):
            return embed(token_ids, weight, into_grad=True)
        return F.embedding(token_ids, weight)

    def _readable(self) -> Stack:
        if self._stack is None:
            raise ValueError(f"this model's inner layers cannot be read: {self._reason}")
        return self._stack

    def follow(self, prompts: Sequence[tuple[int, ...]], owners: Sequence[int], steps: int) -> Follower:
        """States along rows that somebody else writes. Raises ValueError on the padded path, which has no cache."""
        if self._stack is None:
            raise ValueError(f"this model cannot read along while a policy writes: {self._reason}")
        return Follower(self._stack, prompts, owners, steps)

    def _padded(self, batch: TokenBatch) -> Float[Tensor, "N T D"]:
        trunk = base_model(self._model).base_model
        with self.mode.computing(device_of(self._model)):
            output = trunk(input_ids=batch.token_ids, attention_mask=batch.valid_mask.long(), use_cache=False)
        return output.last_hidden_state


def _final_norm(stack: Stack, hidden: Float[Tensor, "M D"], index: Tensor) -> Float[Tensor, "S D"]:
    return rms_norm(hidden.index_select(0, index), stack.final_norm.weight, stack.epsilon)


def _layer_at(stack: Stack, depth: float) -> int:
    """How many layers that share of the way up is."""
    return max(1, round(depth * len(stack.layers)))


def _layer(
    stack: Stack, layer: Layer, layout: Layout, x: Float[Tensor, "M D"], turns: tuple[Tensor, Tensor]
) -> Float[Tensor, "M D"]:
    x = x + _attention(stack, layer, layout, rms_norm(x, layer.attention_norm.weight, stack.epsilon), turns)
    return x + _mlp(layer, rms_norm(x, layer.mlp_norm.weight, stack.epsilon))


def _mlp(layer: Layer, x: Float[Tensor, "M D"]) -> Float[Tensor, "M D"]:
    return layer.down(swiglu(_joined(x, layer.gate, layer.up)))


def _joined(x: Float[Tensor, "M D"], *linears: nn.Module) -> Float[Tensor, "M out"]:
    """Several projections of the same input as one product, unless an adapter must be called as a module."""
    if not all(is_plain(linear) for linear in linears):
        return torch.cat([linear(x) for linear in linears], -1)
    biases = [linear.bias for linear in linears]
    bias = None
    if any(b is not None for b in biases):
        pairs = zip(biases, linears, strict=True)
        bias = torch.cat([linear.weight.new_zeros(linear.out_features) if b is None else b for b, linear in pairs])
    return F.linear(x, torch.cat([linear.weight for linear in linears]), bias)


def _attention(
    stack: Stack, layer: Layer, layout: Layout, x: Float[Tensor, "M D"], turns: tuple[Tensor, Tensor]
) -> Float[Tensor, "M D"]:
    joined = _joined(x, layer.query, layer.key, layer.value).view(x.shape[0], -1, stack.head_width)
    weight = None
    if layer.query_norm is not None and layer.key_norm is not None:
        weight = torch.stack([layer.query_norm.weight] * stack.heads + [layer.key_norm.weight] * stack.key_heads)
    query, key, value = norm_rotate(joined, weight, turns, stack.heads, stack.epsilon, stack.head_width**-0.5)
    parts = [_attend(stack, block, query, key, value) for block in layout.blocks]
    return layer.output(parts[0] if len(parts) == 1 else torch.cat(parts))


def _attend(stack: Stack, block: Block, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "m HD"]:
    """softmax(q k^T + bias) v for one block, each key-value head serving H / key_heads query heads.

    The query already carries the factor 1 / sqrt(d).
    """
    rows, width, heads, shared = block.rows, block.width, stack.key_heads, stack.heads // stack.key_heads
    size = stack.head_width
    own = [_grid(part[block.start : block.stop], block) for part in (query, key, value)]
    keys, values = own[1].transpose(1, 2), own[2].transpose(1, 2)
    if block.prefixes is not None:
        keys = torch.cat([_shared(key, block).transpose(1, 2), keys], 2)
        values = torch.cat([_shared(value, block).transpose(1, 2), values], 2)
    bias = block.bias.to(query.dtype)
    queries = own[0].view(rows, width, heads, shared, size).permute(0, 2, 3, 1, 4)
    if query.device.type == "cpu":
        queries = queries.reshape(rows * heads, shared * width, size)
        scores = torch.bmm(queries, keys.reshape(rows * heads, -1, size).transpose(1, 2))
        scores = scores.view(rows, heads * shared, width, -1).add_(bias)
        scores = scores.float() if scores.dtype == torch.bfloat16 else scores
        weights = scores.softmax(-1).view(rows * heads, shared * width, -1).to(values.dtype)
        mixed = torch.bmm(weights, values.reshape(rows * heads, -1, size))
    else:
        wide = queries.reshape(rows, heads * shared, width, size)
        keys, values = (part.repeat_interleave(shared, 1) for part in (keys, values))  # fused kernels want it so
        mixed = F.scaled_dot_product_attention(wide, keys, values, attn_mask=bias, scale=1.0)
    out = mixed.view(rows, heads, shared, width, size).permute(0, 3, 1, 2, 4).reshape(rows * width, -1)
    return out if block.slots is None else collect(out, block.slots)


def _grid(flat: Float[Tensor, "m H d"], block: Block) -> Float[Tensor, "n R H d"]:
    if block.slots is not None:
        flat = spread(flat, block.slots, block.rows * block.width)
    return flat.reshape(block.rows, block.width, *flat.shape[1:])


def _shared(flat: Float[Tensor, "M H d"], block: Block) -> Float[Tensor, "n P H d"]:
    """The shared keys of each row: gathered once per prefix, then handed to the rows that own it."""
    prefixes = block.prefixes
    assert prefixes is not None
    once = spread(flat.index_select(0, prefixes.tokens), prefixes.slots, prefixes.count * prefixes.width)
    return once.view(prefixes.count, prefixes.width, *flat.shape[1:]).index_select(0, prefixes.owner)
