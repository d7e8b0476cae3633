"""A predicted return law as five quantiles: what the run folder keeps of it, whatever the critic's family."""

import torch
from jaxtyping import Float
from torch import Tensor

from critica.records.arrays import Bernoulli, Categorical, Gaussian, Point, Quantiles, ValuePrediction

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def summarize_law(values: ValuePrediction) -> Float[Tensor, "S 5"]:
    """Quantiles .1 .25 .5 .75 .9 of the law before each token that has a value, row-major over `values.mask`.

    Point: the mean five times. Bernoulli: 0 or 1. Gaussian: mean + spread z. Categorical: of the law averaged over
    members. Quantiles: each member's inverse distribution function, linear between its levels and flat beyond them,
    averaged over members (so that the mean of the curve is the mean of the members' means).
    """
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    mean = values.mean[values.mask].double()
    match values.law:
        case Point():
            return mean[:, None].expand(-1, len(LEVELS)).contiguous()
        case Bernoulli():
            return (mean[:, None] > 1 - levels).double()
        case Gaussian(spread=spread):
            return mean[:, None] + spread[values.mask].double()[:, None] * torch.special.ndtri(levels)
        case Categorical(atoms=atoms, probs=probs):
            cumulative = probs[values.mask].double().mean(1).cumsum(-1)
            index = torch.searchsorted(cumulative, levels.expand(cumulative.shape[0], -1).contiguous())
            return atoms.double()[index.clamp(max=atoms.shape[0] - 1)]
        case Quantiles(levels=known, values=curves):
            return _interpolate(known.double(), curves[values.mask].double().mean(1), levels)


def _interpolate(
    known: Float[Tensor, "K"], curve: Float[Tensor, "S K"], levels: Float[Tensor, "L"]
) -> Float[Tensor, "S L"]:
    """The piecewise linear curve through (known, curve) at `levels`, constant beyond the ends."""
    right = torch.searchsorted(known, levels).clamp(1, max(known.shape[0] - 1, 1))
    if known.shape[0] == 1:
        return curve.expand(-1, levels.shape[0]).contiguous()
    left = right - 1
    share = ((levels - known[left]) / (known[right] - known[left])).clamp(0, 1)
    return curve[:, left] + share * (curve[:, right] - curve[:, left])
