"""Unlearning a token: the law without it as a target, in place of pushing its log-probability down without end."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from critica.functional.logprobs import CHUNK


def unlearning_losses(logits: Float[Tensor, "S V"], token_ids: Int[Tensor, "S"]) -> Float[Tensor, "S"]:
    """-sum_v t_v log p_v with p = softmax(z) and t, a constant, the same law once z_y = -inf (CE-U, arXiv 2503.01224).

    With y the token: d / dz_y = p_y and d / dz_v = -t_v p_y, which add to 0: the pull is strongest on a sure token
    and ends as it fades, where descending log p_y pulls with 1 - p_y, the harder the rarer it already is. It is the
    gradient of unlikelihood, -log(1 - p_y) (Welleck et al. 2020, arXiv 1908.04319), and the loss is that plus the
    entropy of t; this form has no 1 - p_y to lose its digits where p_y is nearly 1. In fp32 or better and in pieces of
    rows; what backward keeps is one [S V] tensor. 0 where no other token is possible: nothing could take its place.
    """
    return _Unlearning.apply(logits, token_ids)


class _Unlearning(torch.autograd.Function):
    """Saves the gradient itself, made in the same pass as the value."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, token_ids: Tensor) -> Tensor:
        kinds = torch.float64 if logits.dtype == torch.float64 else torch.float32
        slope = torch.empty_like(logits, dtype=kinds)
        found = logits.new_empty(logits.shape[0], dtype=kinds)
        size = max(1, CHUNK // max(1, logits.shape[-1]))
        for at in range(0, logits.shape[0], size):
            here = slice(at, at + size)
            own, token = logits[here].to(kinds), token_ids[here].long().unsqueeze(-1)
            logs = torch.log_softmax(own, -1)
            rest = own.scatter(-1, token, -torch.inf)
            target = torch.softmax(rest, -1)
            target = torch.where((rest.amax(-1, keepdim=True) == -torch.inf), torch.zeros_like(target), target)
            found[here] = -(target * torch.where(target > 0, logs, torch.zeros_like(logs))).sum(-1)
            chance = logs.gather(-1, token).exp()
            pulled = torch.where(target.any(-1, keepdim=True), chance, torch.zeros_like(chance))
            slope[here] = (-target * chance).scatter(-1, token, pulled)
        ctx.save_for_backward(slope)
        ctx.kind = logits.dtype
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (slope * grad[:, None]).to(ctx.kind), None
