"""Several objectives in one training signal: each is put on a scale of its own before they are added."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.groups import EPSILON, group_mean, group_std
from critica.records.supervision import Scale


@dataclass(frozen=True, slots=True)
class Combined:
    """Objectives ready to be added: their new values, and by how much each was stretched (spans are, too)."""

    outcome: Float[Tensor, "N J"]
    stretch: Float[Tensor, "N J"]


class CombinationRule(ABC):
    """What happens to the objectives before their sum is told. Unknown cells are NaN, and stay so."""

    @abstractmethod
    def apply(
        self, outcome: Float[Tensor, "N J"], known: Bool[Tensor, "N J"], group_index: Int[Tensor, "N"]
    ) -> Combined:
        """The values to add, objective by objective."""

    @abstractmethod
    def reach(self, scales: Sequence[Scale], siblings: int, rows: int) -> tuple[Scale, ...]:
        """The range of what `apply` gives, for groups of at most `siblings` in steps of at most `rows`."""


def weights_for(weights: tuple[float, ...], count: int) -> tuple[float, ...]:
    """One weight an objective; all 1 if none is given. Raises ValueError for another number of them."""
    if weights and len(weights) != count:
        raise ValueError(
            f"placement.combination.weights has {len(weights)} entries for {count} objectives: give one each, in the"
            " order of the sources"
        )
    return weights or (1.0,) * count


@dataclass(frozen=True, slots=True)
class Sum(CombinationRule):
    """weight * value, added up (TRL's `sum_then_normalize`, with whatever the advantage does then)."""

    weights: tuple[float, ...] = ()

    def apply(
        self, outcome: Float[Tensor, "N J"], known: Bool[Tensor, "N J"], group_index: Int[Tensor, "N"]
    ) -> Combined:
        weight = outcome.new_tensor(weights_for(self.weights, outcome.shape[1]))
        return Combined(outcome * weight, weight.expand_as(outcome))

    def reach(self, scales: Sequence[Scale], siblings: int, rows: int) -> tuple[Scale, ...]:
        return tuple(
            Scale(scale.name, *_ordered(weight * scale.low, weight * scale.high))
            for scale, weight in zip(scales, weights_for(self.weights, len(scales)), strict=True)
        )


@dataclass(frozen=True, slots=True)
class NormalizeThenSum(CombinationRule):
    """Each objective is standardized on its own, then weighted and added: none dominates by its spread alone.

    (value - mean) / (std + 1e-6) over the known siblings (`unit` group; GDPO, TRL's `normalize_then_sum`) or over the
    step (batch); 0 where they do not vary. With `levels` each value is first put on the nearest of so many evenly
    spaced grades of what the step holds (PEARL, arXiv 2605.29582), so that small differences inside a grade say
    nothing. Reliabilities are not preserved: an objective that is noise has the same weight as one that is not.
    """

    weights: tuple[float, ...] = ()
    unit: Literal["group", "batch"] = "group"
    levels: int = 0

    def __post_init__(self) -> None:
        if self.levels == 1 or self.levels < 0:
            raise ValueError("combination.levels must be 0 (as it is) or at least 2 grades")

    def apply(
        self, outcome: Float[Tensor, "N J"], known: Bool[Tensor, "N J"], group_index: Int[Tensor, "N"]
    ) -> Combined:
        weights = weights_for(self.weights, outcome.shape[1])
        values, stretch = outcome.clone(), torch.zeros_like(outcome)
        where = group_index if self.unit == "group" else torch.zeros_like(group_index)
        for j, weight in enumerate(weights):
            column, mask = outcome[:, j], known[:, j]
            graded = graded_on(column, mask, self.levels) if self.levels else column
            spread = group_std(graded, mask, where)
            scale = torch.where(spread > 0, weight / (spread + EPSILON), torch.zeros_like(spread))
            centered = (graded.nan_to_num() - group_mean(graded, mask, where)) * scale
            values[:, j] = torch.where(mask, centered, column)
            stretch[:, j] = scale
        return Combined(values, stretch)

    def reach(self, scales: Sequence[Scale], siblings: int, rows: int) -> tuple[Scale, ...]:
        size = siblings if self.unit == "group" else rows
        far = max(size - 1, 1) / max(size, 1) ** 0.5  # one of n values is at most (n - 1) / sqrt(n) deviations away
        return tuple(
            Scale(scale.name, -abs(weight) * far - EPSILON, abs(weight) * far + EPSILON)
            for scale, weight in zip(scales, weights_for(self.weights, len(scales)), strict=True)
        )


@dataclass(frozen=True, slots=True)
class LowerBound(CombinationRule):
    """mean - k * std over objectives that judge the same thing: what several scorers agree on at least.

    For three scorers or more of one range. Each column carries its share, so that the sum is the bound.
    """

    k: float = 1.0

    def __post_init__(self) -> None:
        if self.k < 0:
            raise ValueError(f"combination.k is {self.k}: deviations below the mean, at least 0")

    def apply(
        self, outcome: Float[Tensor, "N J"], known: Bool[Tensor, "N J"], group_index: Int[Tensor, "N"]
    ) -> Combined:
        count = scorers(outcome.shape[1])
        bound = outcome.mean(-1) - self.k * outcome.std(-1)  # NaN where a scorer said nothing: that row is unknown
        values = torch.where(known.all(-1, keepdim=True), (bound / count)[:, None], outcome / count)
        return Combined(values, torch.full_like(outcome, 1.0 / count))

    def reach(self, scales: Sequence[Scale], siblings: int, rows: int) -> tuple[Scale, ...]:
        scorers(len(scales))
        low, high = min(scale.low for scale in scales), max(scale.high for scale in scales)
        least = low - self.k * (high - low)
        return tuple(Scale(scale.name, least / len(scales), high / len(scales)) for scale in scales)


def scorers(count: int) -> int:
    """As many as there are. Raises ValueError for fewer than three: their spread would say nothing."""
    if count < 3:
        raise ValueError(
            f"a lower bound over scorers needs three objectives or more, and there are {count}: name more sources"
            " (reward=several), or set placement.combination=sum"
        )
    return count


def graded_on(values: Float[Tensor, "N"], known: Bool[Tensor, "N"], levels: int) -> Float[Tensor, "N"]:
    """The nearest of `levels` evenly spaced grades between the least and the greatest known value."""
    if not bool(known.any()):
        return values
    low, high = values[known].min(), values[known].max()
    if high == low:
        return values
    return low + ((values - low) / (high - low) * (levels - 1)).round() / (levels - 1) * (high - low)


def _ordered(one: float, other: float) -> tuple[float, float]:
    return min(one, other), max(one, other) if one != other else min(one, other) + EPSILON
