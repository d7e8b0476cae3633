"""The critic panel's numbers: values against a truth that was itself measured, with that measurement's noise undone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from critica.evaluation.critic_laws import crps, interval_coverage, wasserstein
from critica.functional.random import generator
from critica.functional.statistics import calibration_curve, rank_correlation
from critica.records.critic_report import PanelRow, Reading, ReliabilityBin, Slice

DRAWS = 400  # bootstrap resamples of prompts
BINS = 10
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class AuditedStates:
    """n states of answers to prompts, ordered by prompt, answer and place, and what came of each.

    `outcomes` are S possible returns with weights that sum to 1: k fresh continuations (weight 1/k each; NaN with
    weight 0 where one could not be scored), or the atoms of an exact law. `sampled` tells which. `own` is the clean
    outcome of the answer that the state was taken from; `place` is the share of the answer written before the state.
    """

    prompt: Int[np.ndarray, "n"]
    answer: Int[np.ndarray, "n"]
    place: Float[np.ndarray, "n"]
    length: Int[np.ndarray, "n"]
    own: Float[np.ndarray, "n"]
    outcomes: Float[np.ndarray, "n S"]
    weights: Float[np.ndarray, "n S"]
    sampled: bool
    low: float
    high: float

    @property
    def truth(self) -> Float[np.ndarray, "n"]:
        """The mean of the fresh outcomes: the true value, measured."""
        return (np.nan_to_num(self.outcomes) * self.weights).sum(1)

    @property
    def noise(self) -> Float[np.ndarray, "n"]:
        """The unbiased variance of `truth` as an estimate, s²/k with ddof 1; 0 for an exact truth."""
        if not self.sampled:
            return np.zeros(len(self.prompt))
        count = (self.weights > 0).sum(1)
        spread = ((np.nan_to_num(self.outcomes) - self.truth[:, None]) ** 2 * self.weights).sum(1)
        return spread / np.maximum(count - 1, 1)

    @property
    def gap(self) -> Float[np.ndarray, "n"]:
        """(mean of one half - mean of the other) / 2: as far from 0 as `truth` is from the true value."""
        if not self.sampled:
            return np.zeros(len(self.prompt))
        halves = [self.half(0), self.half(1)]
        means = [(np.nan_to_num(o) * w).sum(1) for o, w in halves]
        both = (halves[0][1].sum(1) > 0) & (halves[1][1].sum(1) > 0)
        return np.where(both, (means[0] - means[1]) / 2, 0.0)

    def half(self, which: int) -> tuple[Float[np.ndarray, "n h"], Float[np.ndarray, "n h"]]:
        """Every second continuation, with weights that sum to 1 again."""
        outcomes, weights = self.outcomes[:, which::2], self.weights[:, which::2]
        return outcomes, weights / np.maximum(weights.sum(1, keepdims=True), TINY)


@dataclass(frozen=True, slots=True)
class Predicted:
    """What one predictor says of the same states: means, and laws as weighted points."""

    name: str
    about: str
    value: Float[np.ndarray, "n"]
    points: Float[np.ndarray, "n P"]
    shares: Float[np.ndarray, "n P"]

    @classmethod
    def of_points(cls, name: str, about: str, value: Float[np.ndarray, "n"]) -> "Predicted":
        """A predictor without a law of its own: all mass at the mean."""
        return cls(name, about, value, value[:, None], np.ones((len(value), 1)))


def panel_row(states: AuditedStates, predicted: Predicted, seed: int = 0) -> PanelRow:
    """Every reading of one predictor, with intervals from resampled prompts, and floors."""
    everything = np.ones(len(states.prompt))
    numbers = moments(states, predicted.value, everything) | ranks(states, predicted.value)
    numbers |= law_numbers(states, predicted, everything)
    source = generator(seed, "critic panel")
    names, index = np.unique(states.prompt, return_inverse=True)
    draws: dict[str, list[float]] = {}
    for _ in range(DRAWS):
        times = np.bincount(source.integers(0, len(names), len(names)), minlength=len(names))
        for name, value in moments(states, predicted.value, times[index].astype(float)).items():
            draws.setdefault(name, []).append(value)
    lowest = floors(states)
    return PanelRow(
        predicted.name, predicted.about,
        tuple(
            Reading(name, value, *interval_of(draws.get(name, [])), lowest.get(name, math.nan))
            for name, value in numbers.items()
        ),
    )  # fmt: skip


def interval_of(draws: Sequence[float]) -> tuple[float, float]:
    """The middle 95%; NaN where nothing was drawn or too little of it was a number."""
    known = [value for value in draws if not math.isnan(value)]
    if len(known) < max(1, len(draws) // 2):
        return math.nan, math.nan
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def moments(states: AuditedStates, value: Float[np.ndarray, "n"], weight: Float[np.ndarray, "n"]) -> dict[str, float]:
    """The readings that are sums over states; `weight` counts how often each prompt is there.

    Explained variance is NaN where the truths differ by less than their own noise: there is nothing to explain.
    """
    truth, noise = states.truth, states.noise
    error = value - truth
    total = weight.sum()
    ground = spread(truth, weight) - mean(noise, weight)
    left = spread(error, weight) - mean(noise, weight)
    several = within(states.prompt, weight)
    inner, inner_truth = centered(error, states.prompt), centered(truth, states.prompt)
    silent = weight[several] @ (noise * (1 - 1 / counts(states.prompt)))[several]
    unknown = weight[several] @ inner[several] ** 2 - silent
    known = weight[several] @ inner_truth[several] ** 2 - silent
    outcomes = np.nan_to_num(states.outcomes)
    brier = float(weight @ ((value[:, None] - outcomes) ** 2 * states.weights).sum(1) / total)
    base = mean(truth, weight)
    constant = float(weight @ ((base - outcomes) ** 2 * states.weights).sum(1) / total)
    return {
        "bias": mean(error, weight),
        "mse": mean(error**2 - noise, weight),
        "mae": mean(np.abs(error), weight),
        "explained_variance": 1 - left / ground if ground > max(TINY, mean(noise, weight)) else math.nan,
        "within_mae": mean(np.abs(inner[several]), weight[several]),
        "within_explained": float(1 - unknown / known) if known > TINY else math.nan,
        "brier": brier,
        "brier_skill": 1 - brier / constant if constant > TINY else math.nan,
        "snr_outcome": signal_to_noise(states, value, weight, of_change=False),
        "snr_change": signal_to_noise(states, value, weight, of_change=True),
    }


def ranks(states: AuditedStates, value: Float[np.ndarray, "n"]) -> dict[str, float]:
    """Order inside prompts and over prompts, and calibration."""
    names = np.unique(states.prompt)
    truth = states.truth
    inside = [rank_correlation(value[states.prompt == p], truth[states.prompt == p]) for p in names]
    known = [rho for rho in inside if not math.isnan(rho)]
    over = [[part[states.prompt == p].mean() for p in names] for part in (value, truth)]
    scale = states.high - states.low
    bins = reliability(states, value)
    gap = sum(bin.states * abs(bin.value - bin.truth) for bin in bins) / max(1, sum(bin.states for bin in bins))
    return {
        "rank_within": math.fsum(known) / len(known) if known else math.nan,
        "rank_across": rank_correlation(*over),
        "ece": gap if scale > 0 else math.nan,
    }


def law_numbers(states: AuditedStates, predicted: Predicted, weight: Float[np.ndarray, "n"]) -> dict[str, float]:
    """How near the predicted law is to the outcomes."""
    law = (predicted.points, predicted.shares)
    fresh = (np.nan_to_num(states.outcomes), states.weights)
    numbers = {"crps": mean(crps(*law, *fresh), weight), "w1": mean(wasserstein(*law, *fresh), weight)}
    if predicted.points.shape[1] > 1:
        numbers["coverage_80"] = mean(interval_coverage(*law, *fresh, 0.1, 0.9), weight)
        numbers["coverage_50"] = mean(interval_coverage(*law, *fresh, 0.25, 0.75), weight)
    return numbers


def floors(states: AuditedStates) -> dict[str, float]:
    """What the truth itself would read, measured as it was: an error below this is below what can be seen.

    The floors of absolute errors come from halves of the continuations (`gap`); few values of the outcome make them
    low by some percent: at 0/1 outcomes by 1 to 6 at 32 continuations, by 4 to 15 at 8.
    """
    weight, gap = np.ones(len(states.prompt)), states.gap
    several = within(states.prompt, weight)
    outcomes, truth, noise = np.nan_to_num(states.outcomes), states.truth, states.noise
    own = ((outcomes - truth[:, None]) ** 2 * states.weights).sum(1) + noise  # unbiased in the outcomes' variance
    constant = mean(((truth.mean() - outcomes) ** 2 * states.weights).sum(1), weight)
    found = {
        "mse": 0.0,
        "mae": mean(np.abs(gap), weight),
        "explained_variance": 1.0,
        "within_mae": mean(np.abs(centered(gap, states.prompt)[several]), weight[several]),
        "within_explained": 1.0,
        "brier": mean(own, weight),
        "brier_skill": 1 - mean(own, weight) / constant if constant > TINY else math.nan,
        "coverage_80": 0.8,
        "coverage_50": 0.5,
    }
    count = (states.weights > 0).sum(1)
    # A draw beside itself is no pair of draws.
    pairs = np.where(states.sampled & (count > 1), count / np.maximum(count - 1, 1), 1.0)
    found["crps"] = mean(crps(outcomes, states.weights, outcomes, states.weights) * pairs, weight)
    if states.sampled:
        halves = [(np.nan_to_num(o), w) for o, w in (states.half(0), states.half(1))]
        found["w1"] = mean(wasserstein(*halves[0], *halves[1]), weight) / 2
    else:
        found["w1"] = 0.0
    return found


def signal_to_noise(
    states: AuditedStates, value: Float[np.ndarray, "n"], weight: Float[np.ndarray, "n"], of_change: bool
) -> float:
    """r²/(1-r²) with r the correlation of credit and c, where c_j = V(s_{j+1}) - V(s_j) is true between audited states.

    After the last state V is the answer's own outcome. Credit is v_{j+1} - v_j (`of_change`, decay 0) or R - v_j
    (decay 1). Var(c) is freed from the noise of both ends; a ratio that noise alone pushes past every bound is NaN.
    Credit that goes against the truth is no signal: 0.
    """
    truth, noise, last = states.truth, states.noise, is_last(states)
    following = np.where(last, states.own, np.roll(truth, -1))
    after = np.where(last, states.own, np.roll(value, -1))
    credit = (after if of_change else states.own) - value
    change = following - truth
    heard = noise + np.where(last, 0.0, np.roll(noise, -1))
    keep = ~np.isnan(states.own)
    credit, change, weight = credit[keep], change[keep], weight[keep]
    if not weight.sum():
        return math.nan
    signal = spread(change, weight) - mean(heard[keep], weight)
    power = spread(credit, weight)
    if signal <= TINY or power <= TINY:
        return math.nan
    shared = mean((credit - mean(credit, weight)) * (change - mean(change, weight)), weight)
    share = max(0.0, shared) ** 2 / (power * signal)
    return share / (1 - share) if share < 1 else math.nan


def is_last(states: AuditedStates) -> Bool[np.ndarray, "n"]:
    """Whether the state is the last audited one of its answer."""
    same = (states.prompt[1:] == states.prompt[:-1]) & (states.answer[1:] == states.answer[:-1])
    return np.append(~same, True)


def reliability(states: AuditedStates, value: Float[np.ndarray, "n"]) -> tuple[ReliabilityBin, ...]:
    """Mean truth by value, in equal bins of the reward's range; the end bins take what lies beyond."""
    scale = states.high - states.low
    if scale <= 0:
        return ()
    inside, truth = (value - states.low) / scale, (states.truth - states.low) / scale
    curve = calibration_curve(inside, truth, BINS)
    place = np.clip(np.floor(inside * BINS).astype(int), 0, BINS - 1)
    found = []
    for index in np.flatnonzero(curve.count):
        here = states.truth[place == index]
        error = 2 * here.std(ddof=1) / math.sqrt(len(here)) if len(here) > 1 else math.nan
        found.append(
            ReliabilityBin(
                float(states.low + scale * curve.mean_predicted[index]),
                float(states.low + scale * curve.mean_observed[index]), float(error), int(curve.count[index]),
            )
        )  # fmt: skip
    return tuple(found)


def slices_by_place(
    states: AuditedStates, value: np.ndarray, group: np.ndarray, parts: int = BINS
) -> tuple[Slice, ...]:
    """Quality by how much of the answer was written, in tenths."""
    where = np.clip(np.floor(states.place * parts).astype(int), 0, parts - 1)
    labels = [f"{100 * i // parts}–{100 * (i + 1) // parts}%" for i in range(parts)]
    return _slices(states, value, group, where, labels)


def slices_by_length(states: AuditedStates, value: np.ndarray, group: np.ndarray, parts: int = 4) -> tuple[Slice, ...]:
    """Quality by the length of the answer, in quarters of the answers."""
    edges = np.unique(np.quantile(states.length, np.linspace(0, 1, parts + 1)[1:-1], method="higher"))
    where = np.searchsorted(edges, states.length, side="right")
    ends = [(states.length[where == i].min(), states.length[where == i].max()) for i in np.unique(where)]
    labels = {int(i): f"{low}–{high}" for i, (low, high) in zip(np.unique(where), ends, strict=True)}
    return _slices(states, value, group, where, [labels.get(i, "") for i in range(int(where.max()) + 1)])


def _slices(
    states: AuditedStates, value: np.ndarray, group: np.ndarray, where: np.ndarray, labels: Sequence[str]
) -> tuple[Slice, ...]:
    found = []
    for index, label in enumerate(labels):
        here = (where == index).astype(float)
        if here.sum():
            mine, theirs = moments(states, value, here), moments(states, group, here)
            found.append(
                Slice(
                    label, int(here.sum()), mean(states.truth, here), mean(value, here), mine["mse"],
                    mine["explained_variance"], theirs["explained_variance"],
                )
            )  # fmt: skip
    return tuple(found)


def mean(values: Float[np.ndarray, "n"], weight: Float[np.ndarray, "n"]) -> float:
    """The weighted mean; NaN of nothing."""
    total = weight.sum()
    return float(values @ weight / total) if total > 0 else math.nan


def spread(values: Float[np.ndarray, "n"], weight: Float[np.ndarray, "n"]) -> float:
    """The weighted variance around the weighted mean."""
    return mean((values - mean(values, weight)) ** 2, weight)


def counts(prompt: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """How many states share each state's prompt."""
    _, index, count = np.unique(prompt, return_inverse=True, return_counts=True)
    return count[index].astype(float)


def within(prompt: Int[np.ndarray, "n"], weight: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """States of prompts with at least two, where there is something to compare inside."""
    return (counts(prompt) > 1) & (weight > 0)


def centered(values: Float[np.ndarray, "n"], prompt: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Each value minus the mean of its prompt."""
    _, index = np.unique(prompt, return_inverse=True)
    return values - (np.bincount(index, values) / np.bincount(index))[index]
