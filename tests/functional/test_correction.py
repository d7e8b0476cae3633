"""Corrections by exact expectation over the channel, their variance, and intervals by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from critica.functional.correction import (
    ErrorRates,
    NoSignal,
    audited,
    backward_corrected,
    forward_weights,
    repaired,
    softened,
    unconfused,
    youden,
)


def full(value):
    return torch.full((2,), value, dtype=torch.float64)


TOLD = torch.tensor([0.0, 1.0], dtype=torch.float64)
CHANNELS = [(0.0, 0.0), (0.2, 0.3), (0.1, 0.4), (0.45, 0.45)]


def expected(values, clean, rho0, rho1):
    """E[values(told)] over the channel; `values` at told 0 and 1."""
    high = 1 - rho1 if clean else rho0
    return float((1 - high) * values[0] + high * values[1])


@pytest.mark.parametrize(("rho0", "rho1"), CHANNELS)
def test_backward_is_unbiased_and_forward_is_the_clean_gradient_shortened(rho0, rho1):
    back, forward = backward_corrected(TOLD, full(rho0), full(rho1)), forward_weights(TOLD, full(rho1))
    for clean in (0, 1):
        assert expected(back, clean, rho0, rho1) == pytest.approx(clean, abs=1e-12)
        assert expected(forward, clean, rho0, rho1) == pytest.approx(youden(rho0, rho1) * (clean - 1), abs=1e-12)


@pytest.mark.parametrize(("rho0", "rho1"), CHANNELS)
def test_on_a_bandit_the_directions_are_as_claimed(rho0, rho1):
    """Five arms, softmax policy: the exact gradient raw is J times the clean one, backward equal, forward J times."""
    logits = torch.tensor([0.3, -0.2, 0.0, 0.7, -1.0], dtype=torch.float64)
    chance, clean = torch.softmax(logits, 0), [1, 0, 0, 1, 0]
    score = torch.eye(5, dtype=torch.float64) - chance

    def gradient(values):
        return sum(chance[a] * expected(values, clean[a], rho0, rho1) * score[a] for a in range(5))

    true = sum(chance[a] * clean[a] * score[a] for a in range(5))
    j = youden(rho0, rho1)
    torch.testing.assert_close(gradient(TOLD), j * true)
    torch.testing.assert_close(gradient(backward_corrected(TOLD, full(rho0), full(rho1))), true)
    torch.testing.assert_close(gradient(forward_weights(TOLD, full(rho1))), j * true)


def test_with_equal_rates_a_standardized_group_does_not_notice():
    told = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)

    def standardized(x):
        return (x - x.mean()) / x.std()

    rho0, rho1 = torch.full((5,), 0.2, dtype=torch.float64), torch.full((5,), 0.3, dtype=torch.float64)
    for corrected in (backward_corrected(told, rho0, rho1), forward_weights(told, rho1), softened(told, 0.3)):
        torch.testing.assert_close(standardized(corrected), standardized(told), rtol=1e-12, atol=1e-12)
    uneven = torch.tensor([0.0, 0.4, 0.0, 0.0, 0.4], dtype=torch.float64)
    assert not torch.allclose(standardized(backward_corrected(told, uneven, rho1)), standardized(told), atol=0.05)


def test_no_signal_is_refused():
    for rho0, rho1 in ((0.5, 0.5), (0.5, 0.46), (0.9, 0.8)):
        with pytest.raises(NoSignal, match="Youden"):
            backward_corrected(TOLD, full(rho0), full(rho1))
    with pytest.raises(NoSignal):
        unconfused(torch.eye(2).double(), torch.tensor([[0.5, 0.5], [0.49, 0.51]]).double())


def test_a_confusion_is_undone_in_expectation():
    matrix = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]], dtype=torch.float64)
    clean = unconfused(torch.eye(3, dtype=torch.float64), matrix)
    torch.testing.assert_close(
        matrix @ clean, torch.eye(3, dtype=torch.float64)
    )  # E over told of the corrected one-hot
    torch.testing.assert_close(clean.sum(-1), torch.ones(3, dtype=torch.float64))
    two = torch.tensor([[0.8, 0.2], [0.3, 0.7]], dtype=torch.float64)
    torch.testing.assert_close(
        unconfused(torch.eye(2, dtype=torch.float64), two)[:, 1], backward_corrected(TOLD, full(0.2), full(0.3))
    )


def test_an_audit_is_unbiased_for_any_noise_and_has_the_stated_variance():
    told, gold, share = torch.tensor([0.3], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64), 0.2
    outcomes = [float(audited(told, gold, torch.tensor([seen]), share)) for seen in (False, True)]
    mean = (1 - share) * outcomes[0] + share * outcomes[1]
    variance = (1 - share) * outcomes[0] ** 2 + share * outcomes[1] ** 2 - mean**2
    assert mean == pytest.approx(1.0) and variance == pytest.approx((1 - share) / share * 0.7**2)
    unread = torch.tensor([float("nan")], dtype=torch.float64)
    assert float(audited(told, unread, torch.tensor([False]), share)) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="above 0"):
        audited(told, gold, torch.tensor([True]), 0.0)


def test_repair_touches_negatives_alone():
    told, feature = torch.tensor([0.0, 0.4, 0.6, 0.45]), torch.tensor([1.0, 0.5, 1.0, 9.0])
    torch.testing.assert_close(repaired(told, feature, 0.5, 0.1), torch.tensor([0.1, 0.45, 0.6, 1.0]))


def test_rates_from_checks():
    pairs = [(0.0, 0.0)] * 70 + [(1.0, 0.0)] * 30 + [(1.0, 1.0)] * 80 + [(0.0, 1.0)] * 20
    told, gold = (np.array(column) for column in zip(*pairs, strict=True))
    rates = ErrorRates().with_checked(told, gold)
    assert (rates.rate(0), rates.rate(1)) == (0.3, 0.2) and math.isnan(ErrorRates().rate(0))
    assert rates.rate(0, prior=0.0, strength=100.0) == pytest.approx(0.15)
    halved = rates.faded(0.5)
    assert halved.rate(0) == pytest.approx(0.3)
    low, high = rates.signal_interval()
    assert low < 0.5 < high
    # Wilson by hand for 30 of 100 and 20 of 100 at z = 1.959964: [.2189, .3958] and [.1334, .2888]
    assert low == pytest.approx(0.5 - math.hypot(0.3958 - 0.3, 0.2888 - 0.2), abs=1e-3)
    assert high == pytest.approx(0.5 + math.hypot(0.3 - 0.2189, 0.2 - 0.1334), abs=1e-3)
    wide_low, wide_high = halved.signal_interval()
    assert wide_low < low and wide_high > high


def test_the_interval_of_j_covers_as_often_as_it_says():
    """Exact coverage over all outcomes of 30 wrong and 30 right answers at rates .2 and .3."""
    n, rho0, rho1 = 30, 0.2, 0.3
    covered = 0.0
    mass = [[math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)] for p in (rho0, rho1)]
    for a, b in itertools.product(range(n + 1), repeat=2):
        low, high = ErrorRates(float(n), float(a), float(n), float(b)).signal_interval()
        covered += mass[0][a] * mass[1][b] * (low <= youden(rho0, rho1) <= high)
    assert 0.93 <= covered <= 0.975, covered
