"""A matrix product prepared for many small calls with the same weights: transposed, or packed by oneDNN."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from critica.policies.families import effective_bias, effective_weight


class Projection:
    """y = x W^T + b, written into a given buffer; `add` adds it to the buffer instead.

    `packed` asks for oneDNN's packed weights, which are faster than the default product on some CPUs (see
    `numerics.configure`); otherwise the weights are kept transposed, which MKL multiplies fastest.
    """

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None, packed: bool) -> None:
        self._bias = bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous()) if packed else None
        self._turned = None if packed else weight.t().contiguous()
        self.out_features = weight.shape[0]

    def into(self, x: Float[Tensor, "M in"], out: Float[Tensor, "M out"]) -> Float[Tensor, "M out"]:
        """Write x W^T + b into `out`."""
        if self._packed is not None:
            made = torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], "")
            return torch.add(made, self._bias, out=out) if self._bias is not None else made
        if self._bias is not None:
            return torch.addmm(self._bias, x, self._turned, out=out)
        return torch.mm(x, self._turned, out=out)

    def add(self, x: Float[Tensor, "M in"], out: Float[Tensor, "M out"]) -> Float[Tensor, "M out"]:
        """Add x W^T + b to `out`."""
        if self._packed is not None:
            out.add_(torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], ""))
        else:
            torch.addmm(out, x, self._turned, out=out)
        return out if self._bias is None else out.add_(self._bias)


class Separate:
    """The same products from the weights where they are: for models too large to copy or too narrow to fold."""

    def __init__(self, linears: Sequence[nn.Module]) -> None:
        self._weights = [effective_weight(linear).detach() for linear in linears]
        self._biases = [effective_bias(linear) for linear in linears]
        self.out_features = sum(weight.shape[0] for weight in self._weights)

    def into(self, x: Float[Tensor, "M in"], out: Float[Tensor, "M out"]) -> Float[Tensor, "M out"]:
        """Write x W^T + b into `out`, one projection after the other."""
        parts = out.split([weight.shape[0] for weight in self._weights], -1)
        for part, weight, bias in zip(parts, self._weights, self._biases, strict=True):
            part.copy_(nn.functional.linear(x, weight, bias))
        return out

    def add(self, x: Float[Tensor, "M in"], out: Float[Tensor, "M out"]) -> Float[Tensor, "M out"]:
        """Add x W^T + b to `out`."""
        (weight,), (bias,) = self._weights, self._biases
        return out.add_(nn.functional.linear(x, weight, bias))


def join(
    linears: Sequence[nn.Module],
    packed: bool,
    scale: Float[Tensor, "in"] | None = None,
    order: Int[Tensor, "out"] | None = None,
) -> Projection:
    """Several projections of one input as one. `scale` is a norm's weight folded in; `order` permutes the outputs."""
    weight = torch.cat([effective_weight(linear).detach() for linear in linears])
    biases = [effective_bias(linear) for linear in linears]
    bias = None
    if any(b is not None for b in biases):
        sizes = [effective_weight(linear).shape[0] for linear in linears]
        filled = [weight.new_zeros(n) if b is None else b.detach() for b, n in zip(biases, sizes, strict=True)]
        bias = torch.cat(filled)
    if scale is not None:
        weight = weight * scale
    if order is not None:
        weight = weight[order]
        bias = None if bias is None else bias[order]
    return Projection(weight, bias, packed)
