"""A pair of answers of which one was preferred: the loss of two scores that should say so, and how well they do."""

import torch
from jaxtyping import Float
from torch import Tensor


def pair_losses(margins: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
    """-log sigmoid(score of the chosen - score of the rejected), in nats (Bradley & Terry 1952). log 2 at a tie.

    It is `comparisons.bradley_terry` with one opponent, but here both scores carry the gradient. In expectation over
    labels that are each flipped with one rate its minimum still orders pairs right; rates that depend on what is asked
    (targeted flips) do not leave the order alone.
    """
    return torch.nn.functional.softplus(-margins)


def orders_right(margins: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
    """1 where the chosen answer has the higher score, 1/2 at a tie, else 0."""
    return (margins > 0).to(margins.dtype) + 0.5 * (margins == 0).to(margins.dtype)


def linear_bradley_terry(
    differences: Float[Tensor, "P F"], penalty: float, iterations: int = 30, tolerance: float = 1e-12
) -> Float[Tensor, "F"]:
    """The w that minimizes mean_p -log sigmoid(w . x_p) + penalty / 2 |w|^2, x = features of chosen - of rejected.

    By Newton's method with step halving, in fp64; strictly convex for penalty > 0, so there is one. Exchanging the
    answers of every pair gives -w. Raises ValueError for a penalty that is not above 0.
    """
    if not penalty > 0:
        raise ValueError(f"penalty must be above 0, got {penalty}: without it separable pairs have no best w")
    points = differences.double()
    count, size = points.shape
    weights = points.new_zeros(size)

    current = _penalized(points, weights, penalty)
    for _ in range(iterations):
        wrong = torch.sigmoid(-(points @ weights))
        gradient = -(points.T @ wrong) / count + penalty * weights
        curvature = (points.T * (wrong * (1 - wrong))) @ points / count
        step = torch.linalg.solve(curvature + penalty * torch.eye(size, dtype=torch.float64), gradient)
        if float(gradient @ step) < tolerance:  # twice what the loss can still fall, to second order
            break
        scale, fresh = 1.0, _penalized(points, weights - step, penalty)
        while scale > 1e-6 and not fresh < current:
            scale /= 2
            fresh = _penalized(points, weights - scale * step, penalty)
        weights, current = weights - scale * step, fresh
    return weights


def _penalized(points: Tensor, weights: Tensor, penalty: float) -> Tensor:
    return torch.nn.functional.softplus(-(points @ weights)).mean() + penalty / 2 * weights.square().sum()
