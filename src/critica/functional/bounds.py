"""A number kept inside a range without ever going silent: the arc tangent."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def bounded(raw: Float[Tensor, "*B"], low: float, high: float) -> Float[Tensor, "*B"]:
    """V = low + (high - low) (1/2 + atan(z) / pi), in units of return (BPCO, arXiv 2608.23566).

    dV/dz = (high - low) / (pi (1 + z^2)) fades like 1 / z^2, where a sigmoid's fades like e^-|z|: a critic that is
    certain and wrong can still turn. z = 0 is the middle of the range.
    """
    return low + (high - low) * (0.5 + torch.atan(raw) / math.pi)
