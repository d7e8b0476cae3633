"""A smooth function of few numbers, minimized: damped Newton steps in fp64, deterministic."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

TRIES = 12
LONGEST = 2.0  # of one step in any coordinate
SETTLED = 1e-9


def damped_newton(loss: Callable[[Tensor], Tensor], start: Float[Tensor, "p"], rounds: int = 40) -> Float[Tensor, "p"]:
    """The point that at most `rounds` steps from `start` lead to; the loss never rises.

    The curvature's eigenvalues count by size, so that a step always goes down; the damping grows until the loss falls.
    """
    point, at, damping = start, loss(start), 1e-3
    for _ in range(rounds):
        gradient = torch.autograd.functional.jacobian(loss, point)
        curvature = torch.autograd.functional.hessian(loss, point)
        assert isinstance(gradient, Tensor)
        assert isinstance(curvature, Tensor)
        values, vectors = torch.linalg.eigh((curvature + curvature.T) / 2)
        sizes = values.abs().clamp(min=1e-6)
        settled = True
        for _ in range(TRIES):
            step = vectors @ ((vectors.T @ gradient) / (sizes + damping * sizes.max().clamp(min=1.0)))
            tried = point - step / (step.abs().max() / LONGEST).clamp(min=1.0)
            found = loss(tried)
            if bool(found.isfinite()) and float(found) < float(at):
                settled = float(at - found) <= SETTLED * (1 + abs(float(at)))
                point, at, damping = tried, found, max(damping / 4, 1e-6)
                break
            damping *= 4
        if settled:
            break
    return point
