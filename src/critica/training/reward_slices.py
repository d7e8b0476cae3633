"""How well a reward model orders pairs, slice by slice, with intervals over prompts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from critica.evaluation.intervals import share_interval
from critica.functional.bradley_terry import orders_right
from critica.records.outcome import Interval
from critica.training.reward_pairs import Pair

ALL = "all"


@dataclass(frozen=True, slots=True)
class SliceReading:
    """One slice: the share of pairs ordered right (ties half), and how its margins differ from the other pairs'.

    The margin is the chosen answer's score minus the rejected one's, in log-odds. `shift` is its mean here minus its
    mean elsewhere; NaN for the slice that is everything.
    """

    name: str
    pairs: int
    prompts: int
    accuracy: Interval
    margin: float
    shift: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def read_slices(
    margins: Float[Tensor, "P"], pairs: Sequence[Pair], slices: Mapping[str, Sequence[int]], seed: int = 0
) -> tuple[SliceReading, ...]:
    """All pairs first, then each slice. Pairs of one prompt are averaged before intervals are taken."""
    right, plain = orders_right(margins).tolist(), margins.tolist()
    made = []
    for name, rows in ((ALL, range(len(pairs))), *slices.items()):
        inside = set(rows)
        rest = [row for row in range(len(pairs)) if row not in inside]
        accuracy = share_interval([float(np.mean(v)) for v in by_prompt(right, pairs, rows).values()], seed)
        shift = mean_difference(
            [float(np.mean(v)) for v in by_prompt(plain, pairs, rest).values()],
            [float(np.mean(v)) for v in by_prompt(plain, pairs, rows).values()],
        )
        prompts = len({pairs[row].prompt_text for row in rows})
        made.append(SliceReading(name, len(inside), prompts, accuracy, float(margins[list(rows)].mean()), shift))
    return tuple(made)


def by_prompt(values: Sequence[float], pairs: Sequence[Pair], rows: Sequence[int]) -> dict[str, list[float]]:
    """The values of these rows, by prompt."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(pairs[row].prompt_text, []).append(values[row])
    return found


def mean_difference(before: Sequence[float], after: Sequence[float], level: float = 0.95) -> Interval:
    """mean(after) - mean(before) of two samples, with Welch's standard error and the normal's quantile.

    NaN without values on either side, endless intervals from a single one: too few to know.
    """
    method = "Welch over prompts"
    if not before or not after:
        return Interval(math.nan, math.nan, math.nan, method)
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    gap = float(second.mean() - first.mean())
    if min(first.size, second.size) < 2:
        return Interval(gap, -math.inf, math.inf, method)
    error = math.sqrt(first.var(ddof=1) / first.size + second.var(ddof=1) / second.size)
    half = NormalDist().inv_cdf((1 + level) / 2) * error
    return Interval(gap, gap - half, gap + half, method)


def read_margins(scores: Float[Tensor, "Q"]) -> Float[Tensor, "P"]:
    """Chosen minus rejected, from scores in the order chosen, rejected, chosen, …"""
    return scores[::2] - scores[1::2]
