"""Bradley-Terry on pairs, robust weights and the exact test: numbers worked out by hand, and what they reduce to."""

import itertools
import math

import pytest
import torch

from critica.functional.bradley_terry import linear_bradley_terry, orders_right, pair_losses
from critica.functional.comparisons import bradley_terry
from critica.functional.exact_tests import fisher_above
from critica.functional.robust_losses import (
    divergence,
    group_dro_step,
    kl_ball_weights,
    tv_ball_weights,
    unit_losses,
)


def test_pair_losses_by_hand_and_as_one_opponent():
    margins = torch.tensor([0.0, math.log(3.0), -math.log(3.0)])
    assert pair_losses(margins).tolist() == pytest.approx([math.log(2), math.log(4 / 3), math.log(4)])
    one = torch.ones(3, 1)
    assert torch.equal(pair_losses(margins), bradley_terry(margins, torch.zeros(3, 1), one, one))
    assert orders_right(margins).tolist() == [0.5, 1.0, 0.0]


def test_the_linear_model_finds_the_least_loss_and_changes_sign_with_the_pairs():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    best = linear_bradley_terry(points, 0.1)

    def loss(weights):
        return float(pair_losses(points @ weights).mean() + 0.05 * weights.square().sum())

    for shift in itertools.product((-1e-3, 0.0, 1e-3), repeat=3):
        assert loss(best + torch.tensor(shift, dtype=torch.float64)) >= loss(best) - 1e-12
    assert torch.allclose(linear_bradley_terry(-points, 0.1), -best, atol=1e-6)
    # one pair, x = 1: (1 - sigmoid(w)) = penalty w
    w = float(linear_bradley_terry(torch.ones(1, 1, dtype=torch.float64), 0.25))
    assert 1 / (1 + math.exp(w)) == pytest.approx(0.25 * w, abs=1e-8)
    with pytest.raises(ValueError, match="above 0"):
        linear_bradley_terry(points, 0.0)


def test_kl_ball_of_two_units_by_hand():
    losses, half = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64)
    radius = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)  # of q = (.2, .8)
    assert kl_ball_weights(losses, half, radius).tolist() == pytest.approx([0.2, 0.8], abs=1e-9)
    assert kl_ball_weights(losses, half, 0.0).tolist() == [0.5, 0.5]
    assert kl_ball_weights(losses, half, math.log(2)).tolist() == [0.0, 1.0]
    assert kl_ball_weights(torch.ones(2), half.float(), 0.3).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="negative"):
        kl_ball_weights(losses, half, -0.1)


def test_kl_ball_is_the_worst_of_all_mixes_inside():
    losses = torch.tensor([0.3, 2.0, 0.7], dtype=torch.float64)
    base = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    best = kl_ball_weights(losses, base, 0.1)
    assert divergence(best, base) == pytest.approx(0.1, abs=1e-8) and float(best.sum()) == pytest.approx(1.0)
    worst = 0.0
    for i, j in itertools.product(range(1, 50), repeat=2):
        if i + j < 50:
            q = torch.tensor([i, j, 50 - i - j], dtype=torch.float64) / 50
            if divergence(q, base) <= 0.1:
                worst = max(worst, float(q @ losses))
    assert worst <= float(best @ losses) + 1e-9 and float(best @ losses) - worst < 0.03
    assert (best / base).argsort().tolist() == losses.argsort().tolist()


def test_tv_ball_moves_mass_from_the_least_losses_and_is_a_linear_program():
    losses = torch.tensor([1.0, 3.0, 2.0, 0.0], dtype=torch.float64)
    base = torch.tensor([0.3, 0.2, 0.1, 0.4], dtype=torch.float64)
    assert tv_ball_weights(losses, base, 0.5).tolist() == pytest.approx([0.2, 0.7, 0.1, 0.0])
    assert tv_ball_weights(losses, base, 0.0).tolist() == base.tolist()
    assert tv_ball_weights(losses, base, 1.0).tolist() == pytest.approx([0.0, 1.0, 0.0, 0.0])
    best = float(tv_ball_weights(losses, base, 0.25) @ losses)
    for parts in itertools.product(range(21), repeat=3):  # a linear program has a best corner: all on a grid of .05
        q = [k / 20 for k in (*parts, 20 - sum(parts))]
        if q[-1] >= 0 and sum(abs(x - p) for x, p in zip(q, base.tolist(), strict=True)) / 2 <= 0.25 + 1e-9:
            assert sum(x * y for x, y in zip(q, losses.tolist(), strict=True)) <= best + 1e-9
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        tv_ball_weights(losses, base, 1.5)


def test_group_dro_raises_the_slice_that_loses():
    weights = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    losses = torch.tensor([0.0, math.log(3.0), 9.0], dtype=torch.float64)
    there = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    assert group_dro_step(weights, losses, there, 1.0).tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 6])
    assert group_dro_step(weights, losses, there, 0.0).tolist() == pytest.approx(weights.tolist())


def test_units_are_means_with_shares():
    means, shares = unit_losses(torch.tensor([1.0, 2.0, 4.0, 6.0]), torch.tensor([7, 7, 2, 7]))
    assert means.tolist() == [4.0, 3.0] and shares.tolist() == [0.25, 0.75]
    assert float(means @ shares) == pytest.approx(13 / 4)


def test_dro_lifts_a_minority_that_plain_averaging_gives_up_and_chases_wrong_labels():
    """y = a on nine tenths, y = -a on one: plain least squares serves the many, the robust fit both alike."""

    def fitted(radius, targets, base):
        """The w on a grid whose worst loss inside the ball is least."""

        def worst(w):
            losses = torch.tensor([(w - y) ** 2 for y in targets], dtype=torch.float64)
            return float(kl_ball_weights(losses, base, radius) @ losses)

        return min((k / 20 for k in range(-20, 21)), key=worst)

    base = torch.tensor([0.9, 0.1], dtype=torch.float64)
    assert fitted(0.0, (1.0, -1.0), base) == pytest.approx(0.8)
    assert fitted(1.0, (1.0, -1.0), base) == pytest.approx(0.0)  # both units lose the same
    # the same ball, where the second unit is a fifth of wrong labels: it pulls away from the truth, 1
    wrong = torch.tensor([0.8, 0.2], dtype=torch.float64)
    assert abs(fitted(1.0, (1.0, -1.0), wrong) - 1.0) > abs(fitted(0.0, (1.0, -1.0), wrong) - 1.0) + 0.3


def test_fisher_by_hand_and_by_enumeration():
    assert fisher_above(3, 3, 0, 3) == pytest.approx(1 / 20)
    assert fisher_above(0, 3, 2, 3) == pytest.approx(1.0)
    assert fisher_above(0, 0, 2, 3) == pytest.approx(1.0)
    for n, m, total in ((4, 5, 3), (2, 6, 5)):
        draws = [sum(i < n for i in picked) for picked in itertools.combinations(range(n + m), total)]
        for a in range(max(0, total - m), min(n, total) + 1):
            expected = sum(draw >= a for draw in draws) / len(draws)
            assert fisher_above(a, n, total - a, m) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no counts"):
        fisher_above(4, 3, 0, 1)
