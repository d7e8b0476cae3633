"""Distilling a policy from a teacher's whole law: divergences of logits and their gradients, and teachers' logits."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from critica.functional.head import tokens_at_once
from critica.functional.logprobs import CHUNK

LEAST_WEIGHT = 1e-3

Kind = Literal["forward_kl", "reverse_kl", "jsd"]
Head = Callable[[Tensor], Tensor]


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
    """KL(softmax(policy) || softmax(teacher)) of each row of logits; see `divergence`."""
    return divergence(policy, teacher, "reverse_kl")


def divergence(
    policy: Float[Tensor, "S V"], teacher: Float[Tensor, "S V"], kind: Kind, mix: float = 0.5, top: int = 0
) -> Float[Tensor, "S"]:
    """How far the law of each row of logits is from the teacher's, in nats and fp32 or better; gradient to `policy`.

    With p the policy and q the teacher: `reverse_kl` is KL(p || q), `forward_kl` is KL(q || p), `jsd` is
    mix KL(q || m) + (1 - mix) KL(p || m) with m = mix q + (1 - mix) p (generalized Jensen-Shannon, as in GKD, arXiv
    2306.13649), symmetric and at most ln 2 at mix 1/2. `top` > 0 compares the laws on the teacher's `top` likeliest
    tokens and on all the others together: a lower bound, exact from `top` = V - 1 on, that says nothing about how the
    others share their mass.

    In pieces of rows, so that no temporary grows with S; what backward keeps is one [S V] tensor. With h the derivative
    of the divergence with respect to p (of a bucket's mass, for all tokens in it): d D / d z = p (h - sum_v p_v h_v).
    """
    return _Divergence.apply(policy, teacher, kind, mix, top)


class _Divergence(torch.autograd.Function):
    """Saves the gradient itself, made in the same pass as the value."""

    @staticmethod
    def forward(ctx: Any, policy: Tensor, teacher: Tensor, kind: Kind, mix: float, top: int) -> Tensor:
        kinds = torch.float64 if policy.dtype == torch.float64 else torch.float32
        slope = torch.empty_like(policy, dtype=kinds)
        found = policy.new_empty(policy.shape[0], dtype=kinds)
        size = max(1, CHUNK // max(1, policy.shape[-1]))
        for at in range(0, policy.shape[0], size):
            here = slice(at, at + size)
            found[here], slope[here] = value_and_slope(policy[here].to(kinds), teacher[here].to(kinds), kind, mix, top)
        ctx.save_for_backward(slope)
        ctx.kind = policy.dtype
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return (slope * grad[:, None]).to(ctx.kind), None, None, None, None


def value_and_slope(
    policy: Float[Tensor, "s V"], teacher: Float[Tensor, "s V"], kind: Kind, mix: float, top: int
) -> tuple[Float[Tensor, "s"], Float[Tensor, "s V"]]:
    """The divergence of each row of logits and its derivative with respect to the policy's logits, at once."""
    own, told = torch.log_softmax(policy, -1), torch.log_softmax(teacher, -1)
    if not 0 < top < policy.shape[-1] - 1:
        return _value_and_slope(own, told, kind, mix)
    likely = told.topk(top, -1).indices
    merged = _bucketed(own, likely)
    value, slope = _value_and_slope(merged, _bucketed(told, likely), kind, mix)
    within = (own - merged[:, -1:]).exp().where(own > -torch.inf, 0.0)  # a token's share of the others' mass
    return value, (slope[:, -1:] * within).scatter(-1, likely, slope[:, :-1])


def _value_and_slope(own: Tensor, told: Tensor, kind: Kind, mix: float) -> tuple[Tensor, Tensor]:
    """The divergence of two laws given by logs, and its derivative with respect to the first one's logits."""
    p, q = own.exp(), told.exp()
    if kind == "forward_kl":
        return _times(q, told - own).sum(-1), p - q
    if kind == "reverse_kl":
        pulled = _times(p, own - told)
        value = pulled.sum(-1)
        return value, pulled - p * value[:, None]
    middle = torch.logaddexp(told + _log(mix), own + _log(1 - mix))
    pulled = (1 - mix) * _times(p, own - middle)
    value = mix * _times(q, told - middle).sum(-1) + pulled.sum(-1)
    return value, pulled - p * pulled.sum(-1, keepdim=True)


def _times(mass: Tensor, logs: Tensor) -> Tensor:
    """mass * logs, with 0 * anything = 0."""
    return torch.where(mass > 0, mass * logs, torch.zeros_like(mass))


def _log(share: float) -> float:
    return float(torch.tensor(share, dtype=torch.float64).log())


def _bucketed(logs: Tensor, likely: Tensor) -> Tensor:
    """The law on these tokens and on all others together, as logs: [s top + 1]."""
    rest = logs.scatter(-1, likely, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat((logs.gather(-1, likely), rest), -1)


def readout_divergence(
    states: Float[Tensor, "S D"], final: Float[Tensor, "S D"], head: Head, mix: float = 0.5
) -> Float[Tensor, "S"]:
    """The `jsd` between what `head` reads from two rows of states; gradient to `states` alone, none to the head.

    Logits exist for a piece of rows at a time; what backward keeps is [S D].
    """
    return _ReadoutDivergence.apply(states, final, head, mix)


class _ReadoutDivergence(torch.autograd.Function):
    """Saves the gradient with respect to the states, made in the same pass as the value."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, final: Tensor, head: Head, mix: float) -> Tensor:
        found, slopes = [], []
        with torch.no_grad():
            size = tokens_at_once(head(states[:1]).shape[-1]) if len(states) else 1
        for here, there in zip(*(rows.detach().split(size) for rows in (states, final)), strict=True):
            with torch.enable_grad():
                leaf = here.requires_grad_()
                logits = head(leaf)
                value, slope = value_and_slope(logits.detach(), head(there).detach(), "jsd", mix, 0)
                slopes.append(torch.autograd.grad(logits, leaf, slope)[0])
            found.append(value)
        ctx.save_for_backward(torch.cat(slopes) if slopes else states.detach())
        return torch.cat(found) if found else states.new_zeros(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return (slope * grad[:, None]).to(slope.dtype), None, None, None
