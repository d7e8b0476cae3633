"""Flips happen at their rate, on two values only, and their effect on the mean is known exactly."""

import numpy as np
import pytest

from critica.functional.noise import flip_two_valued, flipped_expectation, unflipped_expectation
from critica.functional.random import uniforms


def test_hand_example():
    values, draws = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.3, 0.6])
    noisy, flipped = flip_two_valued(values, 0.0, 1.0, draws, 0.2, 0.5)
    assert noisy.tolist() == [1, 0, 0, 1]
    assert flipped.tolist() == [True, False, True, False]


def test_rates_zero_and_one_and_other_values():
    values, draws = np.array([-1.0, 2.0, 2.0]), np.array([0.0, 0.999999, 0.5])
    same, flipped = flip_two_valued(values, -1.0, 2.0, draws, 0.0, 0.0)
    assert same.tolist() == values.tolist() and not flipped.any()
    other, flipped = flip_two_valued(values, -1.0, 2.0, draws, 1.0, 1.0)
    assert other.tolist() == [2, -1, -1] and flipped.all()


@pytest.mark.parametrize(("rate01", "rate10"), [(0.2, 0.2), (0.05, 0.4), (0.0, 0.3)])
def test_the_mean_after_flips_is_the_closed_form(rate01, rate10):
    count, p = 40000, 0.3
    clean = (uniforms(1, "clean", count=count) < p).astype(float)
    noisy, flipped = flip_two_valued(clean, 0.0, 1.0, uniforms(1, "flip", count=count), rate01, rate10)
    told = flipped_expectation(p, rate01, rate10)
    assert noisy.mean() == pytest.approx(told, abs=4 * 0.5 / count**0.5)
    assert flipped[clean == 0].mean() == pytest.approx(rate01, abs=0.012)
    assert flipped[clean == 1].mean() == pytest.approx(rate10, abs=0.02)
    assert (noisy != clean).tolist() == flipped.tolist()
    assert unflipped_expectation(told, rate01, rate10) == pytest.approx(p)


def test_expectation_by_enumeration():
    exact = sum(
        (p if clean else 1 - p) * (rate if told != clean else 1 - rate) * told
        for p in [0.3]
        for clean in (0, 1)
        for told in (0, 1)
        for rate in [(0.1, 0.25)[clean]]
    )
    assert flipped_expectation(0.3, 0.1, 0.25) == pytest.approx(exact)


def test_shared_uniforms_flip_a_group_together():
    values = np.array([1.0, 1.0, 1.0, 1.0])
    _, flipped = flip_two_valued(values, 0.0, 1.0, np.array([0.1, 0.1, 0.7, 0.7]), 0.2, 0.2)
    assert flipped.tolist() == [True, True, False, False]


def test_refusals_name_the_offender():
    draws = np.zeros(3)
    with pytest.raises(ValueError, match=r"value 0\.33 at index 1 is neither 0\.0 nor 1\.0; binarize"):
        flip_two_valued(np.array([0.0, 0.33, 0.5]), 0.0, 1.0, draws, 0.1, 0.1)
    with pytest.raises(ValueError, match="value nan at index 2"):
        flip_two_valued(np.array([0.0, 1.0, np.nan]), 0.0, 1.0, draws, 0.1, 0.1)
    with pytest.raises(ValueError, match="outside"):
        flip_two_valued(np.array([0.0, 1.0, 1.0]), 0.0, 1.0, draws, 1.1, 0.1)
    with pytest.raises(ValueError, match="not below"):
        flip_two_valued(np.array([1.0, 1.0, 1.0]), 1.0, 1.0, draws, 0.1, 0.1)
    with pytest.raises(ValueError, match="no signal"):
        unflipped_expectation(0.5, 0.5, 0.5)
