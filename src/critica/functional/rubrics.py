"""What several criteria say about siblings together: saturation, tiers, agreement. [K G]: K criteria, G siblings."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.groups import EPSILON, group_mean, group_std

MOST_SIBLINGS = 1024  # for which the bounds below are stated
PASSED = 1.0 - 1e-6


def standardized(values: Float[Tensor, "G"], known: Bool[Tensor, "G"]) -> Float[Tensor, "G"]:
    """(x - mean) / (std + 1e-6) over the known siblings, ddof=1; 0 where they do not vary, and where unknown."""
    one = torch.zeros(values.shape[0], dtype=torch.long, device=values.device)
    spread = group_std(values, known, one)
    scaled = (values.nan_to_num() - group_mean(values, known, one)) / (spread + EPSILON)
    return torch.where(known & (spread > 0), scaled, torch.zeros_like(scaled))


def standardized_bound(siblings: int = MOST_SIBLINGS) -> float:
    """The largest |standardized value| among n siblings: one apart from n - 1 equals, (n - 1) / sqrt(n)."""
    return (siblings - 1) / math.sqrt(siblings)


def saturation_weights(values: Float[Tensor, "K G"], known: Bool[Tensor, "K G"]) -> Float[Tensor, "K"]:
    """4 p (1 - p), p the mean over the known siblings: 0 for a criterion that all meet or none, 1 at one half."""
    share = _sums(values, known) / known.double().sum(-1).clamp(min=1)
    return (4 * share * (1 - share)).to(values.dtype)


def weighted_mean(
    values: Float[Tensor, "K G"], known: Bool[Tensor, "K G"], weights: Float[Tensor, "K"]
) -> tuple[Float[Tensor, "G"], Bool[Tensor, "G"]]:
    """(sum_k w_k v_k / sum_k w_k over the known criteria of each sibling, where there is one with a weight)."""
    share = weights[:, None] * known
    total = share.sum(0)
    mean = (share * values.nan_to_num()).sum(0) / torch.where(total > 0, total, torch.ones_like(total))
    return mean, total > 0


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Each sibling's share of essential and additional criteria met, whether it passed, and its score."""

    essential: Float[Tensor, "G"]
    additional: Float[Tensor, "G"]
    passed: Bool[Tensor, "G"]
    score: Float[Tensor, "G"]


def hierarchical(
    values: Float[Tensor, "K G"],
    known: Bool[Tensor, "K G"],
    weights: Float[Tensor, "K"],
    essential: Bool[Tensor, "K"],
    bonus: float = 0.3,
    saturate: bool = True,
    exempt: Bool[Tensor, "K G"] | None = None,
) -> Hierarchy:
    """Essential criteria first; additional ones are compared among siblings that passed, and only add.

        score = z(E) + bonus (z+(X) - min z+(X)) 1{passed}

    E and X are the weighted means over essential and additional criteria, each weight times 4p(1-p) of its group if
    `saturate` (p over the passed siblings for additional ones); z standardizes over the siblings, z+ over those that
    passed: all essential criteria met, and known but where `exempt` (they do not apply). So no additional criterion
    buys back an essential one. A sibling whose additional criteria are all unknown gets the mean bonus. With no
    essential criterion of weight, all pass.
    Source: RLR^3 (arXiv 2605.30244) publishes no equations; these are ours. Centering z+ instead of starting it at 0
    would let a sibling that failed an essential criterion overtake one that passed.
    """
    counts = weights > 0
    first, second = essential & counts, ~essential & counts
    whole, _ = weighted_mean(values, known, weights * first)
    settled = known | ~first[:, None] if exempt is None else known | exempt | ~first[:, None]
    met_all = torch.where(known & first[:, None], values, torch.ones_like(values)).amin(0) >= PASSED
    passed = settled.all(0) & met_all
    share, judged = _tier(values, known, weights * first, saturate)
    more, compared = _tier(values, known & passed, weights * second, saturate)
    z = standardized(more, compared)
    least = z[passed].min() if bool(passed.any()) else z.new_zeros(())
    score = standardized(share, judged) + bonus * torch.where(passed, z - least, torch.zeros_like(z))
    additional, _ = weighted_mean(values, known, weights * second)
    return Hierarchy(whole, additional, passed, score)


def hierarchical_bound(bonus: float, siblings: int = MOST_SIBLINGS) -> float:
    """The largest |score| among n siblings: |z| and the widest range of n standardized values, sqrt(2 (n - 1))."""
    return standardized_bound(siblings) + bonus * math.sqrt(2.0 * (siblings - 1))


def ranks(values: Float[Tensor, "G"]) -> Float[Tensor, "G"]:
    """Ranks from 1, ties sharing their mean."""
    below = (values[None, :] < values[:, None]).sum(1)
    same = (values[None, :] == values[:, None]).sum(1)
    return below + (same + 1) / 2


def rank_correlation(a: Float[Tensor, "G"], b: Float[Tensor, "G"]) -> float:
    """Spearman's: Pearson's of the ranks. NaN where one of them does not vary."""
    x, y = ranks(a.double()), ranks(b.double())
    x, y = x - x.mean(), y - y.mean()
    norm = float(x.norm() * y.norm())
    return float(x @ y) / norm if norm > 0 else math.nan


def peer_agreement(values: Float[Tensor, "K G"]) -> list[float]:
    """Each criterion's rank correlation with the mean of the others; NaN for a single one, or where one is flat."""
    count = values.shape[0]
    if count < 2:
        return [math.nan] * count
    others = (values.sum(0) - values) / (count - 1)
    return [rank_correlation(values[k], others[k].round(decimals=9)) for k in range(count)]


def _tier(values: Tensor, known: Tensor, weights: Tensor, saturate: bool) -> tuple[Tensor, Tensor]:
    """The tier's mean, with saturation if wanted, and where it says something."""
    if saturate:
        weights = weights * saturation_weights(values, known)
    return weighted_mean(values, known, weights)


def _sums(values: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, values.double(), torch.zeros((), dtype=torch.float64)).sum(-1)
