"""Which of several candidates no other one beats on every score."""

from jaxtyping import Bool, Float
from torch import Tensor


def pareto_front(scores: Float[Tensor, "P K"]) -> Bool[Tensor, "P"]:
    """Whether no other candidate is at least as good on all K scores and better on one; higher is better.

    Equal candidates keep each other. Raises ValueError for a NaN: a candidate that was not measured cannot be placed.
    """
    if bool(scores.isnan().any()):
        raise ValueError("pareto_front: a score is NaN; measure every candidate on every score, or leave it out")
    ahead = scores[:, None, :] - scores[None, :, :]  # of i over j
    beaten = (ahead <= 0).all(-1) & (ahead < 0).any(-1)
    return ~beaten.any(-1)
