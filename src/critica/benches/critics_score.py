"""How near to the truth a critic was: ratios to the group's mean inside prompts, with intervals, and the panel."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from critica.evaluation.critic_panel import (
    AuditedStates,
    Predicted,
    centered,
    counts,
    floors,
    interval_of,
    law_numbers,
    moments,
    ranks,
)
from critica.functional.random import generator

DRAWS = 1_000
SHOWN = ("mae", "rmse", "within_mae", "within_explained", "rank_within", "rank_across", "brier", "ece", "crps", "w1")


@dataclass(frozen=True, slots=True)
class Ratio:
    """Mean absolute error inside prompts over the group mean's, with the 95% interval of resampled prompts.

    `floor` is what a critic that knows the truth would read, because the truth itself was measured.
    """

    value: float
    low: float
    high: float
    floor: float


def inner_errors(states: AuditedStates, value: Float[np.ndarray, "n"]) -> Float[np.ndarray, "P"]:
    """Of each prompt with several states: the sum of |value - truth| after each prompt's mean left both."""
    several = counts(states.prompt) > 1
    errors = np.abs(centered(value - states.truth, states.prompt))
    return np.bincount(states.prompt, np.where(several, errors, 0.0))


def ratio(parts: Sequence[tuple[AuditedStates, np.ndarray, np.ndarray]], seed: int = 0) -> Ratio:
    """Of (states, critic's values, group's means), one for each seed; prompts of all seeds are resampled together."""
    mine = np.concatenate([inner_errors(states, value) for states, value, _ in parts])
    theirs = np.concatenate([inner_errors(states, group) for states, _, group in parts])
    lowest = sum(float(np.abs(centered(s.gap, s.prompt))[counts(s.prompt) > 1].sum()) for s, _, _ in parts)
    source, draws = generator(seed, "critics bench/prompts"), []
    for _ in range(DRAWS):
        chosen = source.integers(0, len(mine), len(mine))
        below = theirs[chosen].sum()
        draws.append(float(mine[chosen].sum() / below) if below > 0 else math.nan)
    total = float(theirs.sum())
    if total <= 0:
        return Ratio(math.nan, math.nan, math.nan, math.nan)
    return Ratio(float(mine.sum()) / total, *interval_of(draws), lowest / total)


def readings(states: AuditedStates, predicted: Predicted) -> dict[str, float]:
    """The panel's numbers that the bench shows; `rmse` is the root of the unbiased mean square error."""
    every = np.ones(len(states.prompt))
    found = moments(states, predicted.value, every) | ranks(states, predicted.value)
    found |= law_numbers(states, as_coin(predicted), every)
    found["rmse"] = math.sqrt(max(0.0, found["mse"]))
    return {name: found[name] for name in SHOWN}


def as_coin(predicted: Predicted) -> Predicted:
    """Outcomes are 0 or 1, so that a mean alone says the whole law: a coin that falls so often on 1."""
    if predicted.points.shape[1] > 1:
        return predicted
    chance = np.clip(predicted.value, 0.0, 1.0)[:, None]
    points = np.broadcast_to([0.0, 1.0], (len(chance), 2))
    return replace(predicted, points=points, shares=np.concatenate([1 - chance, chance], 1))


def lowest(states: AuditedStates) -> dict[str, float]:
    """What the truth itself, measured a second time, would read; NaN where that is not known."""
    found = floors(states) | {"rmse": 0.0, "rank_within": math.nan, "rank_across": math.nan, "ece": math.nan}
    return {name: found[name] for name in SHOWN}


def averaged(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over seeds, of those that are numbers."""
    found = {}
    for name in rows[0]:
        known = [row[name] for row in rows if not math.isnan(row[name])]
        found[name] = math.fsum(known) / len(known) if known else math.nan
    return found


def spread(rows: Sequence[Mapping[str, float]], name: str) -> float:
    """The standard deviation of a number over seeds; NaN of fewer than two."""
    known = [row[name] for row in rows if not math.isnan(row[name])]
    return float(np.std(known, ddof=1)) if len(known) > 1 else math.nan


def movement(states: AuditedStates, value: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Inside prompts: the value's spread over the truth's, freed from noise; the slope of the truth on the value."""
    inner, truth = centered(value, states.prompt), centered(states.truth, states.prompt)
    several = counts(states.prompt) > 1
    heard = (states.noise * (1 - 1 / counts(states.prompt)))[several]
    mine, theirs = float((inner[several] ** 2).mean()), float((truth[several] ** 2).mean() - heard.mean())
    shared = float((inner * truth)[several].mean())
    return (
        math.sqrt(mine / theirs) if theirs > 0 else math.nan,
        shared / mine if mine > 1e-12 else math.nan,
    )
