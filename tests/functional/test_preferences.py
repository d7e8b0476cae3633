"""Pairs of siblings by hand: who pairs with whom, what a pair costs, and where each loss rests."""

import math

import pytest
import torch

from critica.functional.preferences import (
    better_pairs,
    centered,
    extremes,
    gaps,
    hinge_losses,
    known_siblings,
    logistic_losses,
    squared_losses,
    win_shares,
)

F64 = torch.float64
NAN = float("nan")
OUTCOME = torch.tensor([0.5, 1.0, NAN, 0.5, 0.9, 0.9, 0.0], dtype=F64)
GROUP = torch.tensor([4, 4, 4, 4, 9, 9, 7])


def chosen(matrix):
    return [tuple(pair) for pair in matrix.nonzero().tolist()]


def test_only_siblings_of_different_known_outcomes_are_pairs():
    siblings = known_siblings(~OUTCOME.isnan(), GROUP)
    assert chosen(siblings) == [(0, 1), (0, 3), (1, 0), (1, 3), (3, 0), (3, 1), (4, 5), (5, 4)]
    assert chosen(better_pairs(OUTCOME, siblings)) == [(1, 0), (1, 3)]
    assert chosen(better_pairs(OUTCOME, siblings, margin=0.49)) == [(1, 0), (1, 3)]
    assert chosen(better_pairs(OUTCOME, siblings, margin=0.5)) == []  # further apart than the margin, not as far


def test_gaps_change_sign_and_are_zero_where_nothing_is_known():
    found = gaps(OUTCOME)
    assert found[1, 0] == 0.5 and torch.equal(found, -found.T)
    assert not found[2].any() and not found[:, 2].any()


def test_the_best_and_the_worst_are_one_pair_a_group():
    outcome = torch.tensor([0.2, 0.9, 0.9, 0.2, 0.5, 0.3, 0.3], dtype=F64)
    group = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    siblings = known_siblings(~outcome.isnan(), group)
    assert chosen(extremes(outcome, siblings) & better_pairs(outcome, siblings)) == [(1, 0)]  # the first of equals
    order = torch.tensor([3, 4, 2, 1, 0, 6, 5])
    moved = known_siblings(~outcome.isnan(), group[order])
    assert chosen(extremes(outcome[order], moved) & better_pairs(outcome[order], moved)) == [(2, 0)]


def test_the_share_of_wins_counts_ties_half_and_leaves_strangers_out():
    siblings = known_siblings(~OUTCOME.isnan(), GROUP)
    assert win_shares(OUTCOME, siblings).tolist() == [0.25, 1.0, 0.5, 0.25, 0.5, 0.5, 0.5]


def test_the_share_of_wins_has_the_win_rate_as_its_mean():
    """Every group of three answers drawn from a law, weighted by its probability."""
    law = torch.tensor([0.2, 0.5, 0.3], dtype=F64)
    worth = torch.tensor([0.0, 1.0, 3.0], dtype=F64)
    beats = (worth[:, None] > worth).to(F64) + 0.5 * (worth[:, None] == worth).to(F64)
    group = torch.zeros(3, dtype=torch.long)
    for first in range(3):
        mean = sum(
            law[a] * law[b] * win_shares(worth[[first, a, b]], known_siblings(group == 0, group))[0]
            for a in range(3)
            for b in range(3)
        )
        assert float(mean) == pytest.approx(float(beats[first] @ law), abs=1e-12)


def matrix(*rows):
    return torch.tensor(rows, dtype=F64)


def test_losses_by_hand():
    ahead = matrix([math.log(3.0) / 0.5])  # beta h = log 3
    sure, unsure = matrix([1.0]), matrix([0.75])
    assert float(logistic_losses(ahead, 0.5, sure)) == pytest.approx(math.log(4 / 3))
    assert float(logistic_losses(-ahead, 0.5, sure)) == pytest.approx(math.log(4))
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert float(logistic_losses(ahead, 0.5, unsure)) == pytest.approx(entropy)  # its least: sigmoid(log 3) = 3/4
    assert float(squared_losses(matrix([3.0]), 5.0)) == 4.0
    assert hinge_losses(matrix([1.0, 2.0, 3.0, -1.0]), 0.5).tolist() == [[0.5, 0.0, 0.0, 1.5]]


def test_the_slopes_are_the_differences():
    torch.manual_seed(0)
    gap = torch.randn(4, 4, dtype=F64, requires_grad=True)
    label = torch.rand(4, 4, dtype=F64)
    assert torch.autograd.gradcheck(lambda h: logistic_losses(h, 0.3, label), gap)
    assert torch.autograd.gradcheck(lambda h: squared_losses(h, label), gap)
    assert torch.autograd.gradcheck(lambda h: hinge_losses(h, 0.3), gap)
    values, known = torch.randn(7, dtype=F64, requires_grad=True), ~OUTCOME.isnan()
    assert torch.autograd.gradcheck(lambda x: centered(x, known, GROUP), values)


def test_centering_is_within_the_group_over_what_is_known():
    values = torch.tensor([1.0, 2.0, 77.0, 6.0, 5.0, 1.0, 3.0], dtype=F64)
    found = centered(values, ~OUTCOME.isnan(), GROUP)
    assert found.tolist() == [-2.0, -1.0, 0.0, 3.0, 2.0, -2.0, 0.0]
