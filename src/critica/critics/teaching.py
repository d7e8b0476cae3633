"""Targets as the heads that predict laws read them: weighted samples of the masked tokens."""

import torch
from jaxtyping import Float
from torch import Tensor

from critica.records.arrays import Samples, Scalar, ValueTargets


def target_samples(targets: ValueTargets) -> tuple[Float[Tensor, "C S"], Float[Tensor, "C S"]]:
    """The samples at each of the C masked tokens, row-major, and their weights; a number is a sample of weight 1."""
    if isinstance(targets, Scalar):
        samples = targets.values[targets.mask][:, None]
        return samples, torch.ones_like(samples)
    if isinstance(targets, Samples):
        return targets.values[targets.mask], targets.weights[targets.mask]
    raise TypeError("this critic learns from numbers or samples, not from comparisons; set target=monte_carlo")
