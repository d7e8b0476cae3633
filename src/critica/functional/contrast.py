"""How much each token depends on what stood in the prompt, and how credit is spread over a row by it (GCPO)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.divergences import k3

LARGEST = 10.0
SOFTMAX_TEMPERATURE, LEAST_SHARE = 0.1, 0.2


def contrast(
    logprobs: Float[Tensor, "N T"], other_logprobs: Float[Tensor, "N T"], floor: float
) -> Float[Tensor, "N T"]:
    """d = e^delta - delta - 1 with delta = log p(token | other context) - log p(token | its own), at most 10.

    0 where |delta| < `floor` nats. Two forward passes over the same numbers differ by rounding; unless that counts as
    no difference at all, a rank makes as much of it as of a real one.
    """
    found = k3(logprobs, other_logprobs).clamp(max=LARGEST)
    return torch.where((other_logprobs - logprobs).abs() < floor, torch.zeros_like(found), found)


def rank_power(share: float, mass: float) -> float:
    """The a for which u^a on (0, 1] puts `mass` of its integral on the top `share`: (1 - share)^(a + 1) = 1 - mass."""
    return math.log(1 - mass) / math.log(1 - share) - 1


def average_ranks(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """Ranks of each row's masked values from 1, equal values sharing the mean of theirs; 0 elsewhere; fp64."""
    filled = values.double().where(mask, torch.inf)
    ordered = filled.sort(-1).values
    below = torch.searchsorted(ordered, filled)
    up_to = torch.searchsorted(ordered, filled, right=True)
    return ((below + up_to + 1).double() / 2).where(mask, 0.0)


def mean_one(raw: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """Non-negative numbers scaled so that each row's mean over its mask is 1; zero elsewhere.

    Exactly 1 everywhere in a row whose numbers are all equal, also if they are all 0.
    """
    kept = raw.double().where(mask, 0.0)
    largest = kept.amax(-1, keepdim=True)
    kept = torch.where(largest > 0, kept / largest.clamp(min=1e-300), mask.double())
    count = mask.sum(-1, keepdim=True).double()
    return kept * (count / kept.sum(-1, keepdim=True).clamp(min=1e-300))


def rank_weights(
    values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], share: float, mass: float
) -> Float[Tensor, "N T"]:
    """u^a with u the percentile within the row: the top `share` of a long row gets `mass` of its weight.

    The largest weight of a long row is about a + 1. Equal values get equal weights.
    """
    count = mask.sum(-1, keepdim=True).clamp(min=1)
    return mean_one((average_ranks(values, mask) / count) ** rank_power(share, mass), mask)


def softmax_weights(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """softmax(d / max d / 0.1) over the row."""
    kept = values.double().where(mask, 0.0)
    scaled = kept / kept.amax(-1, keepdim=True).clamp(min=1e-8) / SOFTMAX_TEMPERATURE
    return mean_one((scaled - 1 / SOFTMAX_TEMPERATURE).exp(), mask)


def linear_weights(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """(d - min) / (max - min), at least 0.2."""
    low = values.double().where(mask, torch.inf).amin(-1, keepdim=True)
    high = values.double().where(mask, -torch.inf).amax(-1, keepdim=True)
    scaled = (values.double() - low) / (high - low).clamp(min=1e-8)
    return mean_one(scaled.where(mask, 0.0).clamp(min=LEAST_SHARE, max=1.0), mask)


def top_weights(values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], share: float) -> Float[Tensor, "N T"]:
    """d itself on the top `share` of the row (at least one token, and whoever equals the last of them), else 0."""
    count = mask.sum(-1, keepdim=True)
    keep = (share * count).ceil().long().clamp(min=1, max=max(1, mask.shape[-1]))
    ordered = values.double().where(mask, -torch.inf).sort(-1, descending=True).values
    kept = mask & (values.double() >= ordered.gather(-1, keep - 1))
    inside = mean_one(values, kept)
    return inside * (count / kept.sum(-1, keepdim=True).clamp(min=1))
