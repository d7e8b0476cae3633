"""Operations of a transformer layer whose backward is written by hand: fewer passes over memory than autograd's."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from critica.policies.kernels import Kernels, kernels_for


def rms_norm(x: Float[Tensor, "*M D"], weight: Float[Tensor, "*W D"], epsilon: float) -> Float[Tensor, "*M D"]:
    """y = w * x / sqrt(mean_d x_d^2 + epsilon), computed in fp32 or better (Zhang and Sennrich 2019, arXiv 1910.07467).

    `weight` may have leading dimensions that x ends with (one row per head). Same values as transformers' modules.
    """
    return _RmsNorm.apply(x, weight, epsilon)


class _RmsNorm(torch.autograd.Function):
    """With h = x r, r = 1/sqrt(mean x^2 + eps), g = w dy: dx = r (g - h mean(g h)), dw = sum dy h."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        native = kernels_for(x) if weight.dim() == 1 and weight.dtype == x.dtype else None
        ctx.native = native  # type: ignore[attr-defined]
        if native is not None:
            out, scale = torch.empty_like(x), x.new_empty((*x.shape[:-1], 1))
            native.rms_norm(x, weight, out, scale, epsilon)
            ctx.save_for_backward(x, weight, scale)
            return out
        wide = x if x.dtype == torch.float64 else x.float()
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        hat = wide * scale
        return hat.mul_(weight) if hat.dtype == weight.dtype else hat.to(x.dtype) * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        native: Kernels | None = ctx.native  # type: ignore[attr-defined]
        if native is not None:
            made, for_weight = native.rms_norm_backward(x, weight, scale, grad.contiguous())
            return made, for_weight, None
        hat = x.to(scale.dtype) * scale
        grad = grad.to(scale.dtype)
        for_weight = None
        product = grad * hat
        if ctx.needs_input_grad[1]:
            for_weight = product.sum_to_size(weight.shape).to(weight.dtype)
        if not ctx.needs_input_grad[0]:
            return None, for_weight, None
        mean = product.mul_(weight).mean(-1, keepdim=True)
        torch.mul(grad, weight, out=product)
        product.addcmul_(hat, mean, value=-1).mul_(scale)
        return product.to(x.dtype), for_weight, None


def embed(token_ids: Int[Tensor, "M"], weight: Float[Tensor, "V D"], into_grad: bool = False) -> Float[Tensor, "M D"]:
    """The rows of these tokens. `into_grad`: the gradient is added to `weight.grad` itself, if the leaf has one.

    torch's own backward makes a tensor of the weight's size first, nearly all zeros. Same bits: a token's gradients are
    summed before they meet what is there. Only for losses that call `backward()`.
    """
    return _Embed.apply(token_ids, weight, weight if into_grad and weight.is_leaf else None)


class _Embed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, token_ids: Tensor, weight: Tensor, owner: Tensor | None) -> Tensor:
        ctx.save_for_backward(token_ids)
        ctx.owner, ctx.like = owner, (weight.shape, weight.dtype)  # type: ignore[attr-defined]
        return torch.nn.functional.embedding(token_ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[None, Tensor | None, None]:
        (token_ids,) = ctx.saved_tensors
        owner: Tensor | None = ctx.owner  # type: ignore[attr-defined]
        if owner is None or owner.grad is None:
            shape, dtype = ctx.like  # type: ignore[attr-defined]
            return None, grad.new_zeros(shape, dtype=dtype).index_add_(0, token_ids, grad.to(dtype)), None
        found, place = token_ids.unique(return_inverse=True)
        owner.grad.index_add_(0, found, owner.grad.new_zeros(len(found), grad.shape[1]).index_add_(0, place, grad))
        return None, None, None


def swiglu(gate_up: Float[Tensor, "M two_F"]) -> Float[Tensor, "M F"]:
    """silu(gate) * up for the halves of the last dimension (Shazeer 2020, arXiv 2002.05202); only the input is kept."""
    return _Swiglu.apply(gate_up)


class _Swiglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        ctx.native = kernels_for(gate_up)  # type: ignore[attr-defined]
        if ctx.native is not None:  # type: ignore[attr-defined]
            return ctx.native.swiglu(gate_up, gate_up.new_empty((gate_up.shape[0], gate_up.shape[1] // 2)))  # type: ignore[attr-defined]
        gate, up = gate_up.chunk(2, -1)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor]:
        (gate_up,) = ctx.saved_tensors
        if ctx.native is not None:  # type: ignore[attr-defined]
            return (ctx.native.swiglu_backward(gate_up, grad.contiguous()),)  # type: ignore[attr-defined]
        gate, up = gate_up.chunk(2, -1)
        made = torch.empty_like(gate_up)
        for_gate, for_up = made.chunk(2, -1)
        torch.mul(grad, torch.nn.functional.silu(gate), out=for_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=for_gate)
        return (made,)


def norm_rotate(
    joined: Float[Tensor, "M W d"],
    weight: Float[Tensor, "turned d"] | None,
    angles: tuple[Float[Tensor, "M half"], Float[Tensor, "M half"]],
    heads: int,
    epsilon: float,
    factor: float,
) -> tuple[Float[Tensor, "M H d"], Float[Tensor, "M K d"], Float[Tensor, "M K d"]]:
    """Split a joined projection into normed, rotated queries (times `factor`), likewise keys, and values.

    W = H + 2 K heads; `weight` has one row for each of the H + K normed heads, or is None where the family has no
    norm there; `angles` are cosines and sines.
    """
    key_heads = (joined.shape[1] - heads) // 2
    if kernels_for(joined) is not None and angles[0].dtype == joined.dtype:
        return _NormRotate.apply(joined, weight, *angles, heads, epsilon, factor)
    turned, value = joined.split([heads + key_heads, key_heads], 1)
    if weight is not None:
        turned = rms_norm(turned, weight, epsilon)
    turned = turned.to(torch.promote_types(turned.dtype, angles[0].dtype))
    query, key = rotate(turned, *(part.unsqueeze(1) for part in angles)).split([heads, key_heads], 1)
    return query * factor, key, value


class _NormRotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, joined: Tensor, weight: Tensor | None, cos: Tensor, sin: Tensor, heads: int, epsilon: float,
        factor: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        native = kernels_for(joined)
        assert native is not None
        key_heads = (joined.shape[1] - heads) // 2
        query, key, value, scale = native.norm_rotate(joined, weight, (cos, sin), heads, key_heads, epsilon, factor)
        ctx.save_for_backward(joined, weight, scale, cos, sin)
        ctx.native, ctx.factor = native, factor  # type: ignore[attr-defined]
        return query, key, value

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        joined, weight, scale, cos, sin = ctx.saved_tensors
        query, key, value = (grad.contiguous() for grad in grads)
        native: Kernels = ctx.native  # type: ignore[attr-defined]
        made, for_weight = native.norm_rotate_backward(
            (joined, weight, scale),
            (cos, sin),
            (query, key, value),
            ctx.factor,  # type: ignore[attr-defined]
        )
        return made, for_weight, None, None, None, None, None


def rotate(
    x: Float[Tensor, "M H d"], cos: Float[Tensor, "M 1 half"], sin: Float[Tensor, "M 1 half"]
) -> Float[Tensor, "M H d"]:
    """Rotary embedding (Su et al. 2021, arXiv 2104.09864): halves (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin)."""
    return _Rotate.apply(x, cos, sin)


class _Rotate(torch.autograd.Function):
    """The inverse of a rotation is its transpose, so backward rotates the other way and keeps no input."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, sin, -1.0), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, -1)
    made = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    left, right = made.chunk(2, -1)
    torch.mul(first, cos, out=left).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=right).addcmul_(first, sin, value=sign)
    return made


def spread(flat: Float[Tensor, "m *K"], slots: Int[Tensor, "m"], size: int) -> Float[Tensor, "size *K"]:
    """Row i of `flat` goes to row slots[i] of a zero tensor; slots are distinct, so backward is a gather."""
    return _Spread.apply(flat, slots, size)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, flat: Tensor, slots: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(slots)
        return flat.new_zeros((size, *flat.shape[1:])).index_copy_(0, slots, flat)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        (slots,) = ctx.saved_tensors
        return grad.index_select(0, slots), None, None


def collect(padded: Float[Tensor, "size *K"], slots: Int[Tensor, "m"]) -> Float[Tensor, "m *K"]:
    """The rows at distinct `slots`: the inverse of `spread`, and its backward is `spread`."""
    return _Collect.apply(padded, slots)


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, padded: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.size = padded.shape[0]  # type: ignore[attr-defined]
        return padded.index_select(0, slots)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        (slots,) = ctx.saved_tensors
        made = grad.new_zeros((ctx.size, *grad.shape[1:]))  # type: ignore[attr-defined]
        return made.index_copy_(0, slots, grad), None
