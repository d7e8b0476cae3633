"""Evolution strategies: noise on a grid that adds and subtracts exactly, scores of a population, proximal pulls."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.groups import EPSILON, group_mean

REACH = 8.0  # standard deviations at which noise is cut: a draw beyond has probability 1e-15


def grid_step(weights: Tensor, sigma: float) -> float:
    """q, the finest power of two such that every w + n with |n| <= REACH sigma is a multiple of q the type holds.

    A float type with p bits of precision holds every multiple k q with |k| <= 2^p. Sums and differences of such
    multiples that stay within are exact, so that (w + n) - n is w to the bit.
    """
    bound = float(weights.detach().abs().amax()) + REACH * sigma if weights.numel() else REACH * sigma
    bits = 1 - math.log2(torch.finfo(weights.dtype).eps)
    return 2.0 ** (math.ceil(math.log2(bound)) - int(bits))


def on_grid(values: Tensor, step: float) -> Tensor:
    """The nearest multiples of `step`, a power of two; values that are already on the grid do not change."""
    return (values / step).round() * step


def noise_on_grid(normals: Tensor, sigma: float, step: float) -> Tensor:
    """sigma * normals as multiples of `step`, cut at REACH sigma."""
    return on_grid(normals.clamp(-REACH, REACH) * sigma, step)


def member_fitness(
    returns: Float[Tensor, "N"],
    known: Bool[Tensor, "N"],
    prompt_index: Int[Tensor, "N"],
    member_index: Int[Tensor, "N"],
    members: int,
) -> tuple[Float[Tensor, "P"], Bool[Tensor, "P"]]:
    """Each member's mean of (return - the prompt's mean) over its known answers, in fp64, and who has any.

    Where every answer is known this is the member's mean return less one number that all members share, and so the
    same after standardization. Where some are missing, no member gains by having been spared a hard prompt.
    """
    centered = torch.where(known, returns - group_mean(returns, known, prompt_index), 0.0).double()
    counts = centered.new_zeros(members).index_add_(0, member_index, known.double())
    sums = centered.new_zeros(members).index_add_(0, member_index, centered)
    return sums / counts.clamp(min=1), counts > 0


def population_scores(fitness: Float[Tensor, "P"], heard: Bool[Tensor, "P"]) -> Float[Tensor, "P"]:
    """z = (fitness - mean) / (std + 1e-6) over the members that were heard (ddof=1); 0 for the others.

    All 0 where fewer than two were heard or all fared alike: nothing is said about any direction.
    """
    scores = torch.zeros_like(fitness)
    if int(heard.sum()) < 2:
        return scores
    values = fitness[heard]
    if float(values.max()) > float(values.min()):
        scores[heard] = (values - values.mean()) / (values.std() + EPSILON)
    return scores


def shrunk(offset: Tensor, factor: float) -> Tensor:
    """(1 - factor) * offset: the proximal step of (factor / 2) |offset|^2 to first order, as AWD takes it."""
    return offset * (1.0 - factor)


def soft_threshold(offset: Tensor, width: float) -> Tensor:
    """sign(offset) * max(|offset| - width, 0): the proximal step of width * |offset|_1."""
    return offset.sign() * (offset.abs() - width).clamp(min=0)
