"""Estimators that see a group through its success count: their weights of prompts, by hand and as polynomials."""

import math

import pytest
import torch

from critica.functional.success_counts import by_count, pass_at_weights, power_weights, prompt_weight, raised

RATES = (0.02, 0.1, 0.3, 0.6, 0.95)


def weights_of(right, p):
    return prompt_weight([0.0, *right], [0.0] * (len(right) + 1), p)


def test_raising_a_degree_keeps_the_polynomial():
    low, high = [2.0, -1.0, 0.5], raised([2.0, -1.0, 0.5], 6)
    for p in RATES:
        value = 2 * (1 - p) ** 2 - 2 * p * (1 - p) + 0.5 * p**2
        assert sum(math.comb(6, j) * p**j * (1 - p) ** (6 - j) * c for j, c in enumerate(high)) == pytest.approx(value)
    assert raised(low, 2) == low
    assert raised([0.0, 1.0], 3) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    with pytest.raises(ValueError, match="degree 2"):
        raised(low, 1)


@pytest.mark.parametrize("size", [2, 5, 8])
def test_powers_are_rl_and_maximum_likelihood(size):
    for p in RATES:
        assert weights_of(power_weights(size, 0.0), p) == pytest.approx(1, abs=1e-12)
        assert weights_of(power_weights(size, 1.0), p) == pytest.approx((1 - (1 - p) ** size) / p, abs=1e-12)
    assert power_weights(4, 2.0) == [16.0, 4.0, 16 / 9, 1.0]


def test_the_numbers_of_the_note():
    found = {power: [round(weights_of(power_weights(8, power), p), 2) for p in RATES] for power in (0.5, 1.0, 2.0)}
    assert found[0.5] == [2.72, 2.34, 1.72, 1.28, 1.03]
    assert found[1.0] == [7.46, 5.70, 3.14, 1.67, 1.05]
    assert found[2.0] == pytest.approx([57.6, 37.5, 12.7, 3.11, 1.12], abs=0.05)


@pytest.mark.parametrize("tries", [1, 2, 4, 8])
def test_pass_at_k_is_its_own_gradient(tries):
    for p in RATES:
        slope = tries * (1 - p) ** (tries - 1)
        assert weights_of(pass_at_weights(8, tries), p) == pytest.approx(slope, abs=1e-12)
        step = 1e-6
        rise = ((1 - p) ** tries - (1 - p - step) ** tries) / step
        assert slope == pytest.approx(rise, rel=1e-4, abs=1e-4)
    assert pass_at_weights(4, 3) == pytest.approx([3.0, 1.0, 0.0, 0.0])  # C(3,2), C(2,2) of C(3,2), times 3


def test_credit_of_wrong_answers_counts_against():
    """A constant to both changes nothing; the group mean as baseline costs 1/n."""
    n = 5
    for p in RATES:
        assert prompt_weight([1.0 - 7] * (n + 1), [-7.0] * (n + 1), p) == pytest.approx(1.0)
        mean = [k / n for k in range(n + 1)]
        assert prompt_weight([1 - m for m in mean], [-m for m in mean], p) == pytest.approx(1 - 1 / n)


def test_reading_a_table_by_count():
    table = torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64)
    assert by_count(table, torch.tensor([0, 1, 3, 2])).tolist() == [0.0, 10.0, 30.0, 20.0]
