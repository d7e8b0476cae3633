"""Statistics against hand numbers, published tables and brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critica.functional.random import uniforms
from critica.functional.statistics import (
    auc,
    average_ranks,
    bias,
    bootstrap_interval,
    brier,
    calibration_curve,
    expected_calibration_error,
    explained_variance,
    mean_interval,
    paired_difference_interval,
    pass_at_k,
    rank_correlation,
    wilson_interval,
)

OUTCOME = np.array([0.0, 1.0, 0.0, 1.0])
few_ties = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=12)


def test_explained_variance():
    assert explained_variance(OUTCOME, OUTCOME) == 1
    assert explained_variance(OUTCOME + 3, OUTCOME) == 1
    assert explained_variance(np.full(4, 0.5), OUTCOME) == 0
    assert explained_variance(1 - OUTCOME, OUTCOME) == -3
    assert explained_variance(OUTCOME / 2, OUTCOME) == pytest.approx(0.75)
    assert math.isnan(explained_variance(OUTCOME, np.ones(4)))
    mask = np.array([True, True, False, False])
    assert explained_variance(np.array([0.0, 1.0, 7.0, -9.0]), OUTCOME, mask) == 1
    tensor = torch.tensor(OUTCOME).reshape(2, 2)
    assert explained_variance(tensor, tensor, torch.ones(2, 2, dtype=torch.bool)) == 1


def test_bias_and_brier():
    value = np.array([0.5, 0.5, 0.5, 1.0])
    assert bias(value, OUTCOME) == pytest.approx(0.125)
    assert brier(value, OUTCOME) == pytest.approx(0.1875)
    assert brier(np.full(4, 0.5), OUTCOME) == 0.25
    assert math.isnan(bias(value, OUTCOME, np.zeros(4, dtype=bool)))
    with pytest.raises(ValueError, match="4 predictions for 3 outcomes"):
        brier(value, OUTCOME[:3])


def test_calibration_by_hand():
    predicted = np.array([0.1, 0.15, 0.6, 0.5, 1.0, -0.2])
    observed = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    curve = calibration_curve(predicted, observed, bins=2)
    assert curve.count.tolist() == [3, 3]
    assert curve.lower.tolist() == [0, 0.5] and curve.upper.tolist() == [0.5, 1]
    assert curve.mean_predicted.tolist() == pytest.approx([0.05 / 3, 0.7])
    assert curve.mean_observed.tolist() == pytest.approx([1 / 3, 2 / 3])
    expected = 0.5 * (1 / 3 - 0.05 / 3) + 0.5 * (0.7 - 2 / 3)
    assert expected_calibration_error(predicted, observed, bins=2) == pytest.approx(expected)
    empty = calibration_curve(predicted, observed, bins=10)
    assert empty.count[3] == 0 and math.isnan(empty.mean_observed[3])
    assert math.isnan(expected_calibration_error([], []))


def test_a_true_probability_is_calibrated_and_a_shifted_one_is_not():
    p = uniforms(1, "p", count=20000)
    told = (uniforms(1, "y", count=20000) < p).astype(float)
    assert expected_calibration_error(p, told) < 0.015
    assert expected_calibration_error(np.clip(p + 0.2, 0, 1), told) == pytest.approx(0.18, abs=0.02)


def test_rank_correlation():
    assert rank_correlation([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8207826816681233)
    assert rank_correlation([1, 2, 3], [1, 8, 27]) == 1
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == -1
    assert math.isnan(rank_correlation([1, 2], [1, 1]))
    assert average_ranks([10, 20, 10, 30]).tolist() == [1.5, 3, 1.5, 4]


@given(few_ties)
@settings(max_examples=30)
def test_auc_is_the_share_of_pairs_in_order(pairs):
    score, label = zip(*pairs, strict=True)
    wins = [s for s, y in pairs if y]
    losses = [s for s, y in pairs if not y]
    found = auc([float(s) for s in score], [float(y) for y in label])
    if not wins or not losses:
        assert math.isnan(found)
        return
    counted = sum((a > b) + 0.5 * (a == b) for a in wins for b in losses) / (len(wins) * len(losses))
    assert found == pytest.approx(counted)


def test_wilson_interval():
    interval = wilson_interval(8, 10)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.8, 0.4901625, 0.9433178), abs=1e-6)
    assert wilson_interval(0, 20).low == 0 and wilson_interval(0, 20).high == pytest.approx(0.1611, abs=1e-4)
    assert wilson_interval(20, 20).high == 1
    assert wilson_interval(8, 10, 0.99).low < interval.low
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson_interval(3, 2)


@given(st.integers(1, 60), st.data())
@settings(max_examples=30)
def test_wilson_solves_its_equation(n, data):
    successes = data.draw(st.integers(0, n))
    interval = wilson_interval(successes, n)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    for edge in (interval.low, interval.high):
        if 0 < edge < 1:  # |p - edge| = z sqrt(edge (1 - edge) / n)
            assert abs(interval.estimate - edge) == pytest.approx(1.959964 * math.sqrt(edge * (1 - edge) / n), rel=1e-5)


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (5, 2.57058), (9, 2.26216), (100, 1.98397)]
)
def test_mean_interval_uses_students_t(freedom, t):
    values = np.arange(freedom + 1.0)
    interval = mean_interval(values)
    half = t * values.std(ddof=1) / math.sqrt(freedom + 1)
    assert interval.estimate == pytest.approx(freedom / 2)
    assert interval.high - interval.estimate == pytest.approx(half, rel=1e-4)
    assert interval.estimate - interval.low == pytest.approx(half, rel=1e-4)


def test_one_run_says_nothing_about_the_next():
    assert mean_interval([0.4]).low == -math.inf
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_bootstrap_repeats_and_agrees_with_theory():
    values = uniforms(2, "values", count=400)
    first, again, other = (bootstrap_interval(values, seed=seed) for seed in (0, 0, 1))
    assert first == again and first != other
    half = 1.96 * values.std(ddof=1) / 20
    assert first.estimate == pytest.approx(values.mean())
    assert (first.high - first.low) / 2 == pytest.approx(half, rel=0.1)
    median = bootstrap_interval(values, np.median, draws=200)
    assert median.low <= np.median(values) <= median.high
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval([])


def test_bootstrap_covers_at_its_level():
    hits = 0
    for trial in range(200):
        interval = bootstrap_interval(uniforms(3, "trial", trial, count=40), seed=trial, level=0.9, draws=200)
        hits += interval.low <= 0.5 <= interval.high
    assert 165 <= hits <= 195  # 180 expected, standard deviation 4


def test_pairs_see_what_separate_intervals_cannot():
    before = uniforms(4, "before", count=200)
    after = before + 0.05 + 0.01 * (uniforms(4, "noise", count=200) - 0.5)
    interval = paired_difference_interval(before, after)
    assert interval.estimate == pytest.approx(0.05, abs=0.002)
    assert 0.045 < interval.low < interval.high < 0.055
    assert paired_difference_interval(after, before).high < 0


def test_pass_at_k_is_the_share_of_subsets_with_a_correct_one():
    for n, c, k in itertools.product(range(1, 7), range(7), range(1, 7)):
        if c > n or k > n:
            continue
        subsets = list(itertools.combinations(range(n), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(min(s) < c for s in subsets) / len(subsets))
    with pytest.raises(ValueError, match="k = 3"):
        pass_at_k(2, 1, 3)
