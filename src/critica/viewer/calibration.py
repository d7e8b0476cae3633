"""How the critic's values meet the outcomes in the last steps: by size of the value, and by place in the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from critica.viewer.window import StepArrays

BINS = 10


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Tokens whose value fell in one bin: mean value, mean outcome, how many tokens and trajectories."""

    value: float
    outcome: float
    tokens: int
    trajectories: int


@dataclass(frozen=True, slots=True)
class PlaceBin:
    """Mean value in one tenth of the answer."""

    place: float
    value: float
    trajectories: int


@dataclass(frozen=True, slots=True)
class CriticPicture:
    """Calibration against told and clean outcomes, and the value along right and wrong answers."""

    steps: tuple[int, ...]
    low: float
    high: float
    told: tuple[CalibrationBin, ...]
    clean: tuple[CalibrationBin, ...]
    right: tuple[PlaceBin, ...]
    wrong: tuple[PlaceBin, ...]
    uses_own_outcome: bool
    value_law: str
    advantage_rule: str


def picture_critic(steps: Sequence[StepArrays]) -> CriticPicture:
    """Bin the tokens of these steps."""
    facts = steps[-1].facts if steps else {}
    low, high = sum(facts.get("low", [0.0])), sum(facts.get("high", [1.0]))
    told: list[tuple[np.ndarray, float]] = []
    clean: list[tuple[np.ndarray, float]] = []
    right: list[np.ndarray] = []
    wrong: list[np.ndarray] = []
    for step in steps:
        counts = np.bincount(step.owner, minlength=len(step.rows))
        for row, values in zip(step.rows, np.split(step.values, np.cumsum(counts)[:-1]), strict=True):
            told.append((values, row.told))
            clean.append((values, row.clean))
            if row.correct is not None:
                (right if row.correct else wrong).append(values)
    return CriticPicture(
        steps=tuple(step.step for step in steps),
        low=low,
        high=high,
        told=bin_by_value(told, low, high),
        clean=bin_by_value(clean, low, high),
        right=bin_by_place(right),
        wrong=bin_by_place(wrong),
        uses_own_outcome=bool(facts.get("uses_own_outcome", False)),
        value_law=str(facts.get("value_law", "")),
        advantage_rule=str(facts.get("advantage_rule", "")),
    )


def bin_by_value(
    rows: Sequence[tuple[np.ndarray, float]], low: float, high: float, bins: int = BINS
) -> tuple[CalibrationBin, ...]:
    """Tokens in `bins` equal bins of [low, high] by value; the ends take what lies beyond. Empty bins are left out."""
    known = [(values, outcome, n) for n, (values, outcome) in enumerate(rows) if values.size and not np.isnan(outcome)]
    if not known or high <= low:
        return ()
    values = np.concatenate([part for part, _, _ in known])
    outcomes = np.concatenate([np.full(part.size, outcome) for part, outcome, _ in known])
    owners = np.concatenate([np.full(part.size, n) for part, _, n in known])
    place = np.clip(np.floor((values - low) / (high - low) * bins).astype(int), 0, bins - 1)
    found = []
    for index in range(bins):
        here = place == index
        if here.any():
            trajectories = len(np.unique(owners[here]))
            found.append(CalibrationBin(values[here].mean(), outcomes[here].mean(), int(here.sum()), trajectories))
    return tuple(found)


def bin_by_place(rows: Sequence[np.ndarray], bins: int = BINS) -> tuple[PlaceBin, ...]:
    """Mean over trajectories of the value at `bins` places, from the first token (0) to the last (1)."""
    long_enough = [values for values in rows if values.size >= 2]
    if not long_enough:
        return ()
    places = np.linspace(0, 1, bins + 1)
    curves = np.stack([np.interp(places, np.linspace(0, 1, values.size), values) for values in long_enough])
    return tuple(PlaceBin(float(x), float(y), len(long_enough)) for x, y in zip(places, curves.mean(0), strict=True))
