"""Predicted return laws as weighted points, and their distance from outcomes."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.records.arrays import Bernoulli, Categorical, Gaussian, Point, Quantiles, ValuePrediction

GAUSSIAN_POINTS = 64
SLACK = 1e-9
ROWS_AT_ONCE = 256  # pairs of points and outcomes are all in memory

Points = Float[np.ndarray, "n P"]
Outcomes = Float[np.ndarray, "n S"]


def law_points(values: ValuePrediction, rows: Int[Tensor, "n"], columns: Int[Tensor, "n"]) -> tuple[Points, Points]:
    """The law at these cells as points and their shares.

    Members of an ensemble: quantile functions are averaged (as the critic's own mean is), probabilities mixed.
    """
    mean = values.mean[rows, columns].double()[:, None]
    match values.law:
        case Point():
            points, shares = mean, torch.ones_like(mean)
        case Bernoulli():
            shares = torch.cat([1 - mean, mean], 1).clamp(0, 1)
            points = torch.tensor([0.0, 1.0], dtype=torch.float64).expand_as(shares)
        case Gaussian(spread=spread):
            levels = (torch.arange(GAUSSIAN_POINTS, dtype=torch.float64) + 0.5) / GAUSSIAN_POINTS
            points = mean + spread[rows, columns].double()[:, None] * torch.special.ndtri(levels)
            shares = torch.full_like(points, 1 / GAUSSIAN_POINTS)
        case Categorical(atoms=atoms, probs=probs):
            shares = probs[rows, columns].double().mean(1)
            points = atoms.double().expand_as(shares)
        case Quantiles(values=curves):
            points = curves[rows, columns].double().mean(1)
            shares = torch.full_like(points, 1 / points.shape[1])
    return points.numpy(), shares.numpy()


def crps(
    points: Points, shares: Points, outcomes: Outcomes, weights: Outcomes
) -> Float[np.ndarray, "n"]:
    """E|X - y| - E|X - X'| / 2 averaged over outcomes y (Gneiting & Raftery 2007, eq. 21); of a point: |X - y|."""
    cuts = range(0, len(points), ROWS_AT_ONCE)
    parts = [[part[i : i + ROWS_AT_ONCE] for part in (points, shares, outcomes, weights)] for i in cuts]
    return np.concatenate([_crps(*part) for part in parts])


def _crps(points: Points, shares: Points, outcomes: Outcomes, weights: Outcomes) -> Float[np.ndarray, "n"]:
    to_outcomes = np.einsum("np,ns,nps->n", shares, weights, np.abs(points[:, :, None] - outcomes[:, None, :]))
    among = np.einsum("np,nq,npq->n", shares, shares, np.abs(points[:, :, None] - points[:, None, :]))
    return to_outcomes - among / 2


def wasserstein(
    points: Points, shares: Points, outcomes: Outcomes, weights: Outcomes
) -> Float[np.ndarray, "n"]:
    """W1 = integral of |F(x) - G(x)| dx between two discrete laws."""
    where = np.concatenate([points, outcomes], 1)
    mass = np.concatenate([shares, -weights], 1)
    order = np.argsort(where, 1, kind="stable")
    where, mass = np.take_along_axis(where, order, 1), np.take_along_axis(mass, order, 1)
    return (np.abs(mass.cumsum(1)[:, :-1]) * np.diff(where, axis=1)).sum(1)


def interval_coverage(
    points: Points, shares: Points, outcomes: Outcomes, weights: Outcomes, low: float, high: float
) -> Float[np.ndarray, "n"]:
    """The weight of outcomes between the law's quantiles at `low` and `high`, both ends included."""
    order = np.argsort(points, 1, kind="stable")
    where, mass = np.take_along_axis(points, order, 1), np.take_along_axis(shares, order, 1).cumsum(1)
    ends = []
    for level in (low, high):
        index = (mass < level - SLACK).sum(1).clip(max=where.shape[1] - 1)
        ends.append(np.take_along_axis(where, index[:, None], 1))
    inside = (outcomes >= ends[0] - SLACK) & (outcomes <= ends[1] + SLACK)
    return (inside * weights).sum(1)
