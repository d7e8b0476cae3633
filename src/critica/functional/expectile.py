"""Errors whose minimizers lie above the mean: expectiles, and quantiles with a plain absolute error."""

import torch
from jaxtyping import Float
from torch import Tensor


def expectile_error(error: Float[Tensor, "*B"], level: float) -> Float[Tensor, "*B"]:
    """|level - 1[c < 0]| c^2, c = target - prediction: f_exp of DQC (arXiv 2512.10926).

    Its minimizer is the `level` expectile of the targets: the mean at 1/2 (where it is half the square), their
    largest as level goes to 1.
    """
    return _tilt(error, level) * error.square()


def quantile_error(error: Float[Tensor, "*B"], level: float) -> Float[Tensor, "*B"]:
    """|level - 1[c < 0]| |c|, c = target - prediction: f_q of DQC. Its minimizer is the `level` quantile."""
    return _tilt(error, level) * error.abs()


def _tilt(error: Tensor, level: float) -> Tensor:
    if not 0 < level < 1:
        raise ValueError(f"the level of an expectile or quantile lies in (0, 1), got {level}")
    return torch.where(error < 0, 1 - level, level).to(error.dtype)
