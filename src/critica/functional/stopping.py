"""When to give an answer up while it is being written: regret, its statistics, and a threshold that keeps a rate."""

from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

FLOOR = 1e-3  # of the value that a threshold is multiplied by


def surrogate_regret(logits: Float[Tensor, "n V"], tokens: Int[Tensor, "n"], temperature: float) -> Float[Tensor, "n"]:
    """g = max_a log pi(a | s) - log pi(y | s) >= 0, under the law that was sampled (ESPO, arXiv 2605.29860).

    In nats; the normalizer cancels, so it is the gap of two logits over the temperature. Greedy tokens have g = 0.
    """
    wide = logits.float()
    gap = wide.amax(-1) - wide.gather(-1, tokens[:, None]).squeeze(-1)
    return gap / (temperature or 1.0)


def deviation_of(variance: float, epsilon: float = 1e-6) -> float:
    """sqrt(variance + epsilon)."""
    return (variance + epsilon) ** 0.5


def standardized_regret(
    regret: Float[Tensor, "n"], mean: float, variance: float, clip: float, epsilon: float = 1e-6
) -> Float[Tensor, "n"]:
    """clip((g - mean) / sqrt(variance + epsilon), -clip, clip)."""
    return ((regret - mean) / deviation_of(variance, epsilon)).clamp(-clip, clip)


Number = TypeVar("Number", float, Tensor)


def smoothed(before: Number, now: Number, smoothing: float) -> Number:
    """z_t = smoothing z_{t-1} + (1 - smoothing) x_t, from z_0 = 0."""
    return smoothing * before + (1 - smoothing) * now


def gives_up(
    signal: Float[Tensor, "n"], value: Float[Tensor, "n"], threshold: float, floor: float = FLOOR
) -> torch.Tensor:
    """z_t > threshold * max(V(s_t), floor): much regret, and little left to hope for."""
    return signal > threshold * value.clamp(min=floor)


def steered(threshold: float, rate: float, target: float, gain: float, low: float, high: float) -> float:
    """clip(threshold + gain (rate - target), low, high): too many stops raise the threshold."""
    return min(max(threshold + gain * (rate - target), low), high)


def moments(count: int, total: float, squares: float) -> tuple[float, float]:
    """Mean and variance (ddof=0, at least 0) from a count, a sum and a sum of squares."""
    mean = total / count
    return mean, max(squares / count - mean**2, 0.0)


def steered_hazard(hazard: float, rate: float, target: float, low: float = 1e-5, high: float = 0.5) -> float:
    """clip(hazard (1 + target - rate), low, high): too many random stops make the next ones rarer."""
    return min(max(hazard * (1 + target - rate), low), high)
