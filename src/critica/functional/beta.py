"""How sure a count of outcomes is: the mean of a Beta posterior, and evidence that fades with age."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def beta_mean(
    total: Float[Tensor, "*S"], count: Float[Tensor, "*S"], prior: Float[Tensor, "*S"] | float, strength: float
) -> Float[Tensor, "*S"]:
    """(strength * prior + total) / (strength + count): the mean of Beta(strength prior + total, …) on [0, 1].

    total: sum of outcomes scaled to [0, 1]; count: how many (both may be faded, and so fractional); prior: the mean
    expected without any evidence, worth `strength` outcomes. Where nothing at all is known (strength + count = 0)
    it is the prior. Reduces to the plain mean at strength 0 and to the prior as strength grows. Raises ValueError for
    a negative strength.
    """
    if strength < 0:
        raise ValueError(f"beta_mean: strength is a number of outcomes, {strength} is negative")
    weight = strength + count
    flat = torch.as_tensor(prior, dtype=total.dtype, device=total.device).expand_as(total)
    return torch.where(weight > 0, (strength * flat + total) / weight.clamp(min=1e-300), flat)


def fading(age_steps: int, half_life_steps: float) -> float:
    """2^(-age / half-life): what is left of evidence after so many steps. Never less than all at half-life inf."""
    if not half_life_steps > 0:
        raise ValueError(f"fading: a half-life is above 0 steps (inf: nothing fades), got {half_life_steps}")
    return 1.0 if math.isinf(half_life_steps) else 2.0 ** (-age_steps / half_life_steps)
