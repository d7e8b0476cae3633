"""Head and log-softmax as one act, a few tokens at a time: nothing of size [S V] outlives a chunk."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

Reader = Callable[..., tuple[Tensor, ...]]  # logits [C V], and C rows of what came along, to numbers [C]

ENTRIES = 1 << 24  # of [tokens V] at once: 64 MiB in fp32
BLOCKS = 8  # pieces of a chunk whose probabilities stand beside its logits
LEAST_TOKENS = 32  # fewer, and reading the head's weight would cost more than the products with it


def tokens_at_once(vocabulary: int) -> int:
    """How many tokens a chunk has."""
    return max(LEAST_TOKENS, ENTRIES // max(1, vocabulary))


def pays(tokens: int, vocabulary: int) -> bool:
    """Whether chunks are worth their second product: below one chunk there is nothing to save."""
    return tokens > tokens_at_once(vocabulary)


def head_logprobs(
    states: Float[Tensor, "S D"],
    weight: Float[Tensor, "V D"],
    bias: Float[Tensor, "V"] | None,
    token_ids: Int[Tensor, "S"],
    temperature: Float[Tensor, "S"],
    chunk: int = 0,
    into_grad: bool = False,
) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
    """`logprobs_and_entropies(states @ weight.T + bias, …)`, chunk by chunk over the tokens.

    With z the logits over the temperature, p their softmax, H its entropy and a the token, the backward pass makes
    each chunk's z again and from it d/dz = g_a (1_a - p) - g_H p (log p + H); the states' gradient is written in
    place, the head's added up. Temperature 0 was greedy: scored at temperature 1.

    The product has the weights' dtype, all else is fp32 or better. `chunk` is in tokens, 0 for `tokens_at_once`.
    `into_grad`: the head's gradient is added to `weight.grad` itself, which saves a tensor of its size; only for a leaf
    and a loss that calls `backward()`, as `torch.autograd.grad` would not see it.
    Memory: a chunk and an eighth (two chunks where the entropy has a gradient), and one gradient of the head. Cost: the
    product of states and head once more (4/3 of the head's time). The idea is Liger's (arXiv 2410.10989), whose
    gradients are made in the forward pass: here a loss stands between the log-probs and the sum, so that they cannot
    be. Worth it where [S V] is large, see `pays`.
    """
    divisor = torch.where(temperature == 0, torch.ones_like(temperature), temperature)
    size = chunk or tokens_at_once(weight.shape[0])
    if into_grad and weight.requires_grad and not weight.is_leaf:
        raise ValueError("head_logprobs: into_grad=True needs a leaf, and this weight is computed from others")
    return _Chunked.apply(states, weight, bias, token_ids.long(), divisor, size, into_grad)


def read_laws(
    head: Callable[[Tensor], Tensor], states: Float[Tensor, "S D"], read: Reader, *along: Tensor
) -> tuple[Tensor, ...]:
    """`read(head(states), *along)` in chunks of tokens; `along` has one row for each token, and so has what comes out.

    No chunk's logits outlive it: the backward pass makes them again. `read` must treat each token by itself.
    """
    with torch.no_grad():
        vocabulary = head(states[:0]).shape[-1]
    if not pays(len(states), vocabulary):
        return read(head(states), *along)

    def piece(some: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
        return read(head(some), *rows)

    size = tokens_at_once(vocabulary)
    made = [
        checkpoint(piece, *parts, use_reentrant=False) if torch.is_grad_enabled() else piece(*parts)
        for parts in zip(*(tensor.split(size) for tensor in (states, *along)), strict=True)
    ]
    return tuple(torch.cat(parts) for parts in zip(*made, strict=True))


class _Chunked(torch.autograd.Function):
    """Keeps the states, one normalizer and one entropy a token; every chunk of logits is made twice."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor,
        divisor: Tensor,
        size: int,
        into_grad: bool,
    ) -> tuple[Tensor, Tensor]:
        few = -(-size // BLOCKS)
        room, other = _room(states, weight, size), _room(states, weight, few)
        logprobs, entropies, normalizers = (room.new_empty(len(states)) for _ in range(3))
        for part in _parts(len(states), size):
            logits = _logits(room, states[part], weight, bias, divisor[part])
            highest = logits.amax(-1)
            chosen = logits.sub_(highest[:, None]).gather(-1, ids[part, None]).squeeze(-1)
            total, surprise = torch.empty_like(highest), torch.empty_like(highest)
            for at in range(0, len(logits), few):
                some = slice(at, at + few)
                masses = torch.exp(logits[some], out=other[: len(logits[some])])
                total[some] = masses.sum(-1)
                surprise[some] = masses.mul_(_finite(logits[some])).sum(-1)
            normalizers[part] = highest + total.log()
            logprobs[part] = chosen - total.log()
            entropies[part] = total.log() - surprise / total
        ctx.save_for_backward(states, weight, bias, ids, divisor, normalizers, entropies)
        ctx.size, ctx.owner = size, weight if into_grad else None
        ctx.set_materialize_grads(False)
        return logprobs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_chosen: Tensor | None, for_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        states, weight, bias, ids, divisor, normalizers, entropies = ctx.saved_tensors
        if for_chosen is None and for_entropy is None:
            return (None,) * 7
        wanted = ctx.needs_input_grad
        for_states = torch.empty_like(states) if wanted[0] else None
        for_weight = _gradient_of(ctx.owner, weight, normalizers.dtype) if wanted[1] else None
        for_bias = torch.zeros_like(bias, dtype=normalizers.dtype) if wanted[2] else None
        room = _room(states, weight, ctx.size)
        other = None if for_entropy is None else torch.empty_like(room)
        for part in _parts(len(states), ctx.size):
            logs = _logits(room, states[part], weight, bias, divisor[part]).sub_(normalizers[part, None])
            chosen = torch.zeros_like(normalizers[part]) if for_chosen is None else for_chosen[part]
            if for_entropy is None or other is None:
                grad = logs.exp_().mul_(-chosen[:, None])
            else:
                grad = torch.exp(logs, out=other[: len(logs)])
                factor = _finite(logs).add_(entropies[part, None]).mul_(-for_entropy[part, None])
                grad.mul_(factor.sub_(chosen[:, None]))
            grad.scatter_add_(-1, ids[part, None], chosen[:, None])
            grad.div_(divisor[part, None])
            if for_bias is not None:
                for_bias += grad.sum(0)
            grad = grad.to(weight.dtype)
            if for_states is not None:
                torch.mm(grad, weight, out=for_states[part])
            if for_weight is not None:
                _add_product(for_weight, grad, states[part])
        given = for_weight is not None and ctx.owner is not None and for_weight is ctx.owner.grad
        cast = [made if made is None else made.to(weight.dtype) for made in (None if given else for_weight, for_bias)]
        return for_states, *cast, None, None, None, None


def _parts(tokens: int, size: int) -> Iterator[slice]:
    """The chunks, of at most `size` tokens each, as even as can be."""
    pieces = -(-tokens // size)
    even = -(-tokens // max(1, pieces))
    return (slice(at, min(at + even, tokens)) for at in range(0, tokens, even or 1))


def _gradient_of(owner: Tensor | None, weight: Tensor, exact: torch.dtype) -> Tensor:
    """Where the head's gradient is added up: the leaf's own, if it is wanted and as exact as the sum must be."""
    if owner is None or owner.dtype != exact:
        return torch.zeros_like(weight, dtype=exact)
    if owner.grad is None:
        owner.grad = torch.zeros_like(owner)
    return owner.grad


def _room(states: Tensor, weight: Tensor, size: int) -> Tensor:
    """Where a chunk's numbers stand, chunk after chunk: fp32 or better."""
    exact = torch.float64 if weight.dtype == torch.float64 else torch.float32
    return states.new_empty(min(size, len(states)), weight.shape[0], dtype=exact)


def _logits(room: Tensor, states: Tensor, weight: Tensor, bias: Tensor | None, divisor: Tensor) -> Tensor:
    """This chunk's logits over the temperature, in `room`; the product has the weight's own dtype."""
    made = room[: len(states)]
    if made.dtype != weight.dtype:
        made.copy_(torch.nn.functional.linear(states, weight, bias))
    elif bias is None:
        torch.mm(states, weight.T, out=made)
    else:
        torch.addmm(bias, states, weight.T, out=made)
    return made if bool((divisor == 1).all()) else made.div_(divisor[:, None].to(made.dtype))


def _finite(logs: Tensor) -> Tensor:
    """In place: -inf (a banned token) becomes finite, so that 0 times it is 0."""
    return logs.clamp_(min=-1e30)


def _add_product(total: Tensor, grad: Tensor, states: Tensor) -> None:
    """total += grad.T @ states; half precision is added up in fp32."""
    if total.dtype == grad.dtype:
        total.addmm_(grad.T, states)
    else:
        total += grad.T @ states
