"""Distilling a policy from models trained on preferences: the teacher's logits, and the full-vocabulary reverse KL."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from critica.functional.logprobs import CHUNK

LEAST_WEIGHT = 1e-3


def total_variation(first: Float[Tensor, "S V"], second: Float[Tensor, "S V"]) -> Float[Tensor, "S"]:
    """sum_v |p_v - q_v| of two rows of logits: 0 where they agree, 2 where they share no token (no factor 1/2)."""
    return (first.softmax(-1) - second.softmax(-1)).abs().sum(-1)


def contrastive_teacher(
    teacher: Float[Tensor, "S V"], anti: Float[Tensor, "S V"], slope: float
) -> tuple[Float[Tensor, "S V"], Float[Tensor, "S"]]:
    """(z_d + w (z_d - z_r), w) with w = slope tv(p_d, p_r) + 1e-3, a token's own: AlignDistil (arXiv 2503.02832).

    Where the two models agree there is nothing to extrapolate, w is 1e-3 and the teacher is p_d. With a large w the
    logits run away from both, and the teacher becomes sharper than either.
    """
    weight = slope * total_variation(teacher, anti) + LEAST_WEIGHT
    return teacher + weight[:, None] * (teacher - anti), weight


def mixed_teacher(
    teacher: Float[Tensor, "S V"], reference: Float[Tensor, "S V"], weight: float
) -> Float[Tensor, "S V"]:
    """w z_d + (1 - w) z_ref: the logits of pi_ref (pi_d / pi_ref)^w normalized, the optimum of RLHF under the token
    reward beta log pi_d / pi_ref and a KL of strength beta / w (AlignDistil, theorem 1). w = 1 is pi_d."""
    return reference + weight * (teacher - reference)


def reverse_kl(policy: Float[Tensor, "S V"], teacher: Float[Tensor, "S V"]) -> Float[Tensor, "S"]:
    """KL(softmax(policy) || softmax(teacher)) of each row of logits, in nats and fp32 or better; gradient to `policy`.

    In pieces of rows, so that no temporary grows with S; what backward keeps is one [S V] tensor. With p the policy:
    d KL / d z = p (log p - log q - KL).
    """
    return _ReverseKl.apply(policy, teacher)


class _ReverseKl(torch.autograd.Function):
    """Saves the gradient itself, made in the same pass as the value."""

    @staticmethod
    def forward(ctx: Any, policy: Tensor, teacher: Tensor) -> Tensor:
        kinds = torch.float64 if policy.dtype == torch.float64 else torch.float32
        slope = torch.empty_like(policy, dtype=kinds)
        found = policy.new_empty(policy.shape[0], dtype=kinds)
        size = max(1, CHUNK // max(1, policy.shape[-1]))
        for at in range(0, policy.shape[0], size):
            here = slice(at, at + size)
            own = torch.log_softmax(policy[here].to(kinds), -1)
            gap = own - torch.log_softmax(teacher[here].to(kinds), -1)
            probs = own.exp()
            gap = torch.where(probs > 0, gap, torch.zeros_like(gap))
            found[here] = (probs * gap).sum(-1)
            slope[here] = probs * (gap - found[here, None])
        ctx.save_for_backward(slope)
        ctx.kind = policy.dtype
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (slope * grad[:, None]).to(ctx.kind), None
