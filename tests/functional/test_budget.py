"""Samples by prompt: the utility by enumeration, greedy against the best, and their limits."""

from itertools import product
from math import comb

import numpy as np
import pytest

from critica.functional.budget import allocate_exactly, allocate_greedily, mixed_failures, routing_scores


@pytest.mark.parametrize("samples", [1, 2, 3, 8, 17])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_utility_is_the_expected_failures_of_mixed_groups(samples, rate):
    enumerated = sum(
        comb(samples, k) * rate**k * (1 - rate) ** (samples - k) * (samples - k) * (0 < k < samples)
        for k in range(samples + 1)
    )
    assert mixed_failures(samples, rate) == pytest.approx(enumerated, abs=1e-12)


def value(given, rates):
    return sum(mixed_failures(b, p) for b, p in zip(given, rates, strict=True))


def brute(total, rates, fewest, most):
    options = (g for g in product(range(fewest, most + 1), repeat=len(rates)) if sum(g) <= total)
    return max(value(g, rates) for g in options)


@pytest.mark.parametrize("seed", range(6))
def test_the_exact_allocation_is_the_best_and_greedy_never_better(seed):
    dice = np.random.default_rng(seed)
    rates, total = dice.random(3).tolist(), int(dice.integers(6, 22))
    exact, greedy = (f(total, rates, 2, 12) for f in (allocate_exactly, allocate_greedily))
    assert value(exact, rates) == pytest.approx(brute(total, rates, 2, 12))
    assert value(greedy, rates) <= value(exact, rates) + 1e-12
    for given in (exact, greedy):
        assert sum(given) <= total and all(2 <= b <= 12 for b in given)


def test_greedy_can_miss_because_a_hard_prompt_pays_late():
    rates = [0.05, 0.6]
    greedy, exact = allocate_greedily(40, rates, 2, 40), allocate_exactly(40, rates, 2, 40)
    assert value(exact, rates) > value(greedy, rates) * 1.02


def test_solved_and_hopeless_prompts_get_the_least_and_everything_is_spent():
    given = allocate_greedily(24, [0.5, 1.0, 0.0, 0.4], 2, 100)
    assert sum(given) == 24 and given[1] == given[2] == 2 and min(given[0], given[3]) > 2
    assert given[3] > given[0]  # the utility favors failures
    assert allocate_greedily(100, [0.5, 0.5], 2, 8) == (8, 8)
    with pytest.raises(ValueError, match="too few"):
        allocate_greedily(3, [0.5, 0.5])
    with pytest.raises(ValueError, match="fewest"):
        allocate_exactly(30, [0.5], 4, 3)


def test_routing_between_success_and_price():
    rates, costs = np.array([[0.9, 0.5], [0.6, 0.5]]), np.array([0.8, 0.1])
    assert routing_scores(rates, costs, 1.0).argmax(1).tolist() == [0, 0]
    assert routing_scores(rates, costs, 0.0).argmax(1).tolist() == [1, 1]
    np.testing.assert_allclose(
        routing_scores(rates, costs, 0.75)[0], [0.75 * 0.9 + 0.25 * 0.2, 0.75 * 0.5 + 0.25 * 0.9]
    )
    assert routing_scores(rates, costs, 0.7).argmax(1).tolist() == [0, 1]
    with pytest.raises(ValueError, match="success_weight"):
        routing_scores(rates, costs, 1.5)
