"""Errors of a predicted mean: squared, and PPO's clipped square."""

import torch
from jaxtyping import Float
from torch import Tensor


def clipped_squared_error(
    value: Float[Tensor, "*S"], target: Float[Tensor, "*S"], old_value: Float[Tensor, "*S"], clip: float
) -> Float[Tensor, "*S"]:
    """max(1/2 (V - target)^2, 1/2 (clip(V, V_old - clip, V_old + clip) - target)^2); clip 0: the plain half square.

    value, target, old_value: in units of return. Source: the value loss of released PPO code (Engstrom et al. 2020,
    arXiv 2005.12729, section 2). Where V has moved past the clip away from V_old and the clipped error is the larger,
    the gradient is zero. Reduces to the half squared error as clip grows.
    """
    plain = 0.5 * (value - target).square()
    if not clip:
        return plain
    bounded = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum(plain, 0.5 * (bounded - target).square())
