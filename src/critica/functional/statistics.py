"""How good a prediction is, and how sure we are of a number: fp64, with intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from critica.functional.random import generator

Numbers = Sequence[float | int] | np.ndarray | Tensor


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval that holds the truth at the stated level."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CalibrationCurve:
    """Equal bins of [0, 1]: edges, what was predicted and observed in each (NaN where empty), and how many."""

    lower: Float[np.ndarray, "bins"]
    upper: Float[np.ndarray, "bins"]
    mean_predicted: Float[np.ndarray, "bins"]
    mean_observed: Float[np.ndarray, "bins"]
    count: Int[np.ndarray, "bins"]


def explained_variance(value: Numbers, outcome: Numbers, mask: Numbers | None = None) -> float:
    """1 - Var(outcome - value) / Var(outcome) over the mask; NaN where the outcome does not vary.

    1: perfect up to a constant; 0: as good as a constant; negative: worse. Blind to a constant error: see `bias`.
    """
    predicted, observed = _pair(value, outcome, mask)
    if observed.size == 0 or np.ptp(observed) == 0:
        return math.nan
    return float(1 - np.var(observed - predicted) / np.var(observed))


def bias(value: Numbers, outcome: Numbers, mask: Numbers | None = None) -> float:
    """mean(value - outcome) over the mask: above 0 is optimistic. NaN of nothing."""
    predicted, observed = _pair(value, outcome, mask)
    return float(np.mean(predicted - observed)) if observed.size else math.nan


def brier(probability: Numbers, outcome: Numbers, mask: Numbers | None = None) -> float:
    """mean((probability - outcome)^2) over the mask; 0 is perfect, 1/4 is a constant 1/2. NaN of nothing."""
    predicted, observed = _pair(probability, outcome, mask)
    return float(np.mean((predicted - observed) ** 2)) if observed.size else math.nan


def calibration_curve(probability: Numbers, outcome: Numbers, bins: int = 10) -> CalibrationCurve:
    """Mean outcome against mean prediction in `bins` equal bins; a bin holds its lower edge.

    Predictions below 0 or above 1 (an unbounded head makes them) count in the first or last bin.
    """
    predicted, observed = _pair(probability, outcome, None)
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_predicted = np.bincount(place, predicted, bins) / count
        mean_observed = np.bincount(place, observed, bins) / count
    return CalibrationCurve(edges[:-1], edges[1:], mean_predicted, mean_observed, count)


def expected_calibration_error(probability: Numbers, outcome: Numbers, bins: int = 10) -> float:
    """sum over bins of count / n |mean predicted - mean observed|. Biased upward in small samples. NaN of nothing."""
    curve = calibration_curve(probability, outcome, bins)
    if not curve.count.sum():
        return math.nan
    gaps = np.abs(curve.mean_predicted - curve.mean_observed)
    return float(np.nansum(gaps * curve.count) / curve.count.sum())


def rank_correlation(first: Numbers, second: Numbers) -> float:
    """Spearman's rho: the correlation of average ranks. NaN if either side does not vary."""
    left, right = (average_ranks(part) for part in _pair(first, second, None))
    if left.size < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return math.nan
    left, right = left - left.mean(), right - right.mean()
    return float(left @ right / math.sqrt((left @ left) * (right @ right)))


def auc(score: Numbers, label: Numbers) -> float:
    """P(score of a positive > score of a negative) + P(equal) / 2; a label above 1/2 is positive. NaN if one class."""
    scores, labels = _pair(score, label, None)
    positive = labels > 0.5
    wins = int(positive.sum())
    losses = positive.size - wins
    if not wins or not losses:
        return math.nan
    return float((average_ranks(scores)[positive].sum() - wins * (wins + 1) / 2) / (wins * losses))


def average_ranks(values: Numbers) -> Float[np.ndarray, "n"]:
    """Ranks from 1, ties sharing their mean rank."""
    _, place, counts = np.unique(_array(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[place]


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (1927). Raises ValueError if n is 0 or successes is not in 0..n."""
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"wilson_interval: {successes} successes of {n} is no proportion")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = successes / n, z * z / n
    center = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    low = 0.0 if successes == 0 else max(0.0, center - half)
    return Interval(share, low, 1.0 if successes == n else min(1.0, center + half))


def bootstrap_interval(
    values: Numbers,
    statistic: Callable[[np.ndarray], float] = np.mean,
    seed: int = 0,
    level: float = 0.95,
    draws: int = 2000,
) -> Interval:
    """Percentile bootstrap (Efron 1979): the statistic of `draws` resamples with replacement.

    For units that vary together (tokens of a trajectory, samples of a prompt) give one value per unit. Raises
    ValueError without values.
    """
    observed = _array(values)
    if not observed.size:
        raise ValueError("bootstrap_interval: no values to resample")
    source = generator(seed, "bootstrap")
    repeated = [float(statistic(observed[source.integers(0, observed.size, observed.size)])) for _ in range(draws)]
    low, high = np.quantile(repeated, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(statistic(observed)), float(low), float(high))


def paired_difference_interval(
    a: Numbers, b: Numbers, seed: int = 0, level: float = 0.95, draws: int = 2000
) -> Interval:
    """Bootstrap interval of mean(b - a) over pairs: the same prompt before and after, the same seed in two runs."""
    before, after = _pair(a, b, None)
    return bootstrap_interval(after - before, seed=seed, level=level, draws=draws)


def mean_interval(values: Numbers, level: float = 0.95) -> Interval:
    """Student's t interval of a mean over few independent runs (seeds); infinite for one run. ValueError for none."""
    observed = _array(values)
    if not observed.size:
        raise ValueError("mean_interval: no values")
    mean = float(observed.mean())
    if observed.size == 1:
        return Interval(mean, -math.inf, math.inf)
    half = _student_quantile((1 + level) / 2, observed.size - 1) * float(observed.std(ddof=1)) / observed.size**0.5
    return Interval(mean, mean - half, mean + half)


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the chance that k of n samples, c of them correct, hold a correct one.

    Unbiased in pass@k (Chen et al. 2021, arXiv 2107.03374, eq. 1). ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass_at_k: {c} correct of {n} samples with k = {k}; k cannot exceed the samples")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def _array(values: Numbers) -> Float[np.ndarray, "..."]:
    plain = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return np.asarray(plain, dtype=np.float64).ravel()


def _pair(first: Numbers, second: Numbers, mask: Numbers | None) -> tuple[np.ndarray, np.ndarray]:
    left, right = _array(first), _array(second)
    if left.size != right.size:
        raise ValueError(f"{left.size} predictions for {right.size} outcomes")
    if mask is None:
        return left, right
    keep = _array(mask) > 0.5
    return left[keep], right[keep]


def _student_quantile(probability: float, freedom: int) -> float:
    """The t with P(T <= t) = probability >= 1/2, by bisection on the exact distribution function."""
    low, high = 0.0, 1.0
    while _student_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, freedom) < probability else (low, middle)
    return high


def _student_cdf(t: float, freedom: int) -> float:
    """P(T <= t), t >= 0, for whole degrees of freedom: finite series, Abramowitz & Stegun 26.7.3-4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle) ** 2
    odd = freedom % 2
    term = total = math.cos(angle) if odd and freedom > 1 else (0.0 if odd else 1.0)
    for step in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * (step - 1) / step
        total += term
    share = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return 0.5 + share / 2
