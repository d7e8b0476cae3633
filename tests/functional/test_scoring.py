"""Proper scoring, enumerated: honesty pays best, and by how much."""

import pytest

from critica.functional.scoring import brier_reward

GRID = [tenth / 10 for tenth in range(11)]


def expected(stated: float, chance: float) -> float:
    """E[reward] when the outcome is 1 with this chance, by enumeration."""
    return chance * brier_reward(stated, [1.0]) + (1 - chance) * brier_reward(stated, [0.0])


@pytest.mark.parametrize("chance", GRID)
def test_the_true_chance_alone_is_paid_best(chance):
    best = expected(chance, chance)
    assert all(expected(stated, chance) < best - 1e-9 for stated in GRID if stated != chance)


def test_what_a_lie_costs_is_the_squared_distance_whatever_the_law():
    law = [(0.0, 0.2), (0.25, 0.5), (1.0, 0.3)]  # graded outcomes too
    mean = sum(value * prob for value, prob in law)
    variance = sum(prob * (value - mean) ** 2 for value, prob in law)
    for stated in GRID:
        paid = sum(prob * brier_reward(stated, [value]) for value, prob in law)
        assert paid == pytest.approx(1 - variance - (stated - mean) ** 2)


def test_several_outcomes_are_averaged_and_none_is_refused():
    assert brier_reward(0.7, [1.0, 0.0]) == pytest.approx(1 - (0.09 + 0.49) / 2)
    with pytest.raises(ValueError, match="none is known"):
        brier_reward(0.5, [])
