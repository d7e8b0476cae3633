"""Tiers, saturation and agreement of criteria, against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from critica.functional.rubrics import (
    hierarchical,
    hierarchical_bound,
    peer_agreement,
    rank_correlation,
    saturation_weights,
    standardized,
    standardized_bound,
    weighted_mean,
)


def table(*rows):
    values = torch.tensor([[math.nan if v is None else float(v) for v in row] for row in rows], dtype=torch.float64)
    return values, ~values.isnan()


def weights(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_standardized_leaves_unknown_and_flat_at_zero():
    values, known = table([1, 3, None])
    root = 2**0.5 / 2
    assert standardized(values[0], known[0]).tolist() == pytest.approx([-root, root, 0.0], abs=1e-5)
    assert standardized(torch.ones(3), torch.ones(3, dtype=torch.bool)).tolist() == [0.0, 0.0, 0.0]


def test_a_criterion_that_all_meet_or_none_carries_no_weight():
    assert saturation_weights(*table([1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, None])).tolist() == (
        pytest.approx([0.0, 0.0, 0.75, 8 / 9])
    )


def test_unknown_criteria_leave_both_sums():
    mean, known = weighted_mean(*table([1, 1, None], [0, None, None]), weights(1.0, 3.0))
    assert mean.tolist() == [0.25, 1.0, 0.0] and known.tolist() == [True, True, False]


def test_a_group_worked_out_by_hand():
    """p = 1/2 and 3/4 give the essential weights 1 and 3/4; the two that pass differ by one additional criterion."""
    values, known = table([1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1])
    found = hierarchical(values, known, weights(1.0, 1.0, 1.0), torch.tensor([True, True, False]))
    assert found.essential.tolist() == [1.0, 1.0, 0.5, 0.0] and found.passed.tolist() == [True, True, False, False]
    bonus = 0.3 * math.sqrt(2)  # z of two that differ is +-1/sqrt(2)
    assert found.score.tolist() == pytest.approx([0.80801 + bonus, 0.80801, -0.36727, -1.24875], abs=1e-4)


def test_when_all_essential_ones_are_saturated_only_additional_ones_speak():
    values, known = table([1, 1, 1], [1, 0, 0])
    found = hierarchical(values, known, weights(1.0, 1.0), torch.tensor([True, False]), bonus=1.0)
    z = math.sqrt(4 / 3)  # of one among three
    assert found.score.tolist() == pytest.approx([z + z / 2, 0.0, 0.0], abs=1e-5)
    values, known = table([0, 0, 0], [1, 0, 0])
    assert hierarchical(values, known, weights(1.0, 1.0), torch.tensor([True, False])).score.tolist() == [0.0] * 3


def test_an_unknown_essential_criterion_is_not_passed_and_not_failed():
    values, known = table([1, None, 0], [1, 1, 1], [0, 1, 1])
    found = hierarchical(values, known, weights(1.0, 1.0, 1.0), torch.tensor([True, True, False]), saturate=False)
    assert found.passed.tolist() == [True, False, False]
    assert found.score[1] == found.score[0] > found.score[2]  # what is known of it is right; extras do not count


@given(st.data())
def test_no_extra_buys_back_an_essential_criterion_and_the_bound_holds(data):
    size = data.draw(st.integers(2, 8))
    cell = st.sampled_from([0.0, 0.5, 1.0])
    rows = data.draw(st.lists(st.lists(cell, min_size=size, max_size=size), min_size=4, max_size=4))
    weight = data.draw(st.lists(st.sampled_from([0.01, 1.0, 5.0]), min_size=4, max_size=4))
    saturate = data.draw(st.booleans())
    values, known = table(*rows)
    tier = torch.tensor([True, True, False, False])
    found = hierarchical(values, known, weights(*weight), tier, 0.3, saturate)
    if bool(found.passed.any()) and not bool(found.passed.all()):
        assert found.score[found.passed].min() >= found.score[~found.passed].max()
    assert found.score.abs().max() <= hierarchical_bound(0.3, size) + 1e-6
    order = torch.tensor(data.draw(st.permutations([0, 1, 2, 3])))
    again = hierarchical(values[order], known[order], weights(*weight)[order], tier[order], 0.3, saturate)
    assert torch.allclose(again.score, found.score, atol=1e-9)


def test_a_centered_bonus_would_let_a_failure_overtake():
    """Two pass, one misses a criterion of weight .01, five miss all: the gap above it is .02 deviations."""
    values, known = table([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0])
    found = hierarchical(values, known, weights(1.0, 0.01, 1.0), torch.tensor([True, True, False]), saturate=False)
    assert found.score[1] > found.score[2]
    centered = found.score[1] - 0.3 / math.sqrt(2)
    assert centered < found.score[2]


def test_the_bound_is_reached_by_one_among_equals():
    alone = torch.tensor([1.0] + [0.0] * 15)
    assert float(standardized(alone, torch.ones(16, dtype=torch.bool))[0]) == pytest.approx(
        standardized_bound(16), 1e-4
    )


def test_rank_correlation_shares_ties_and_knows_when_it_is_undefined():
    a = torch.tensor([1.0, 2.0, 2.0, 4.0])
    assert rank_correlation(a, torch.tensor([1.0, 3.0, 3.0, 9.0])) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5)
    assert rank_correlation(a, torch.tensor([1.0, 2.0, 3.0, 4.0])) == pytest.approx(4.5 / math.sqrt(22.5))
    assert math.isnan(rank_correlation(a, torch.ones(4)))


def test_agreement_is_with_the_others_and_moves_with_the_criteria():
    rows = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    found = peer_agreement(rows)
    # the third: others mean 1, .5, 0, 0 has ranks 4, 3, 1.5, 1.5, it has 1.5, 1.5, 3.5, 3.5
    assert found[2] == pytest.approx(-4 / math.sqrt(4 * 4.5))
    order = [2, 0, 1]
    assert peer_agreement(rows[order]) == pytest.approx([found[k] for k in order], nan_ok=True)
    assert math.isnan(peer_agreement(rows[:1])[0])
