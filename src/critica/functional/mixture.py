"""The law of a lambda-return as a mixture over horizons, drawn as stratified samples or enumerated."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.categorical import two_hot
from critica.functional.gather import compact, expand
from critica.functional.recursion import discounted_suffix_sums


def stratified_horizons(decay: float, samples: int) -> Int[Tensor, "S"]:
    """Horizon k of each stratum: the smallest k >= 1 with 1 - decay^k > (s + 1/2) / samples.

    decay in [0, 1]; at decay 1 every horizon is beyond any end (a large integer). Source: inversion of
    P(k) = (1 - decay) decay^(k-1), the weights of the lambda-return (Sutton & Barto 2018, eq. 12.2).
    """
    levels = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
    if decay <= 0:
        return torch.ones(samples, dtype=torch.long)
    if decay >= 1:
        return torch.full((samples,), 2**40, dtype=torch.long)
    return (torch.log1p(-levels) / math.log(decay)).floor().long() + 1


def coprime_permutation(samples: int) -> Int[Tensor, "S"]:
    """A fixed permutation of 0..samples-1 with small discrepancy: multiples of a stride near samples / golden ratio."""
    stride = max(1, round(samples * 0.6180339887498949))
    while math.gcd(stride, samples) != 1:
        stride += 1
    return (torch.arange(samples) * stride) % samples


def lambda_mixture_samples(
    rewards: Float[Tensor, "N T"],
    quantiles: Float[Tensor, "N T K"],
    mask: Bool[Tensor, "N T"],
    discount: float,
    decay: float,
    samples: int,
) -> Float[Tensor, "N T S"]:
    """S equally likely samples of G_t = sum_{j<k} discount^j r_{t+j} + discount^k Z(s_{t+k}), k from the lambda law.

    Z(s) is uniform over the K predicted quantiles and 0 after the last sampled token. rewards, quantiles: in units of
    return, on the grid; mask: the sampled tokens. Stratified in k (exact to 1/S) and, by a fixed permutation, in the
    quantile index. Reduces to the Monte-Carlo return at decay 1 and to the one-step target at decay 0.
    """
    values, lengths = compact(quantiles, mask)
    steps, _ = compact(rewards, mask)
    rows, width, count = values.shape
    horizons = stratified_horizons(decay, samples).clamp(max=width)
    index = (coprime_permutation(samples) * count) // samples
    powers = torch.pow(torch.tensor(discount, dtype=torch.float64), torch.arange(width + 1)).to(steps)
    returns = torch.nn.functional.pad(discounted_suffix_sums(steps, discount), (0, width + 1))
    here = torch.arange(width, device=values.device)
    result = values.new_zeros(rows, width, samples)
    padded = torch.nn.functional.pad(values, (0, 0, 0, width + 1))
    alive = here[None] < lengths[:, None]
    for s in range(samples):
        k = int(horizons[s])
        inside = (here + k)[None] < lengths[:, None]
        gained = returns[:, :width] - powers[k] * returns[:, k : k + width]
        future = padded[:, k : k + width, int(index[s])] * powers[k]
        result[:, :, s] = gained + future.where(inside, 0.0)
    return expand(result.where(alive[..., None], 0.0), mask)


def lambda_mixture_categorical(
    rewards: Float[Tensor, "N T"],
    probs: Float[Tensor, "N T K"],
    atoms: Float[Tensor, "K"],
    mask: Bool[Tensor, "N T"],
    discount: float,
    decay: float,
) -> Float[Tensor, "N T K"]:
    """L_t = project(r_t + discount Z), Z from (1 - decay) P_{t+1} + decay L_{t+1}; at the last token project(r_t).

    The law of the lambda-return on the grid of atoms, without sampling: exact for one reward at the end of an
    undiscounted row, else each step's projection keeps the mean (inside the grid) and widens the law a little. decay 0
    is C51's target (arXiv 1707.06887, algorithm 1), decay 1 the coded Monte-Carlo return.
    """
    laws, lengths = compact(probs, mask)
    steps, _ = compact(rewards, mask)
    width = laws.shape[1]
    result = torch.zeros_like(laws)
    later = torch.zeros_like(laws[:, 0]) if width else laws
    certain = torch.ones_like(steps[:, :1])
    for t in reversed(range(width)):
        ahead = decay * later + (1 - decay) * laws[:, t + 1] if t + 1 < width else later
        moved = two_hot(steps[:, t, None] + discount * atoms, ahead, atoms)
        last = two_hot(steps[:, t, None], certain, atoms)
        later = torch.where((lengths == t + 1)[:, None], last, moved).where((lengths > t)[:, None], 0.0)
        result[:, t] = later
    return expand(result, mask)
