"""A prior and outcomes: by hand, at the limits, and a prior's worth recovered from its track record."""

import numpy as np
import pytest
import torch

from critica.functional.fusion import fused_rate, prior_strength, surprise


def t(*values):
    return torch.tensor(values, dtype=torch.double)


def test_surprise_is_the_beta_binomial_z():
    p, n, s = 0.3, 4.0, 6.0
    deviation = (p * (1 - p) * (1 / n + (1 - 1 / n) / (s + 1))) ** 0.5
    assert float(surprise(t(3.0), t(n), t(p), s)) == pytest.approx((0.75 - 0.3) / deviation)
    assert float(surprise(t(0.0), t(0.0), t(p), s)) == 0.0
    binomial = abs(0.75 - p) / (p * (1 - p) / n) ** 0.5
    assert float(surprise(t(3.0), t(n), t(p), 1e12)) == pytest.approx(binomial)


def test_fusion_between_its_limits():
    total, count, prior = t(3.0, 0.0), t(4.0, 0.0), t(0.5, 0.2)
    fused, dropped = fused_rate(total, count, prior, 4.0, 2.5)
    assert fused.tolist() == [5 / 8, 0.2] and not dropped.any()
    assert fused_rate(total, count, prior, 0.0, 2.5)[0].tolist() == [0.75, 0.2]
    torch.testing.assert_close(fused_rate(total, count, prior, 1e9, 1e9)[0], prior)


def test_a_contradicted_prior_is_dropped():
    fused, dropped = fused_rate(t(0.0, 1.0), t(8.0, 8.0), t(0.9, 0.2), 20.0, 2.5)
    assert dropped.tolist() == [True, False]
    assert fused.tolist() == pytest.approx([0.0, (4 + 1) / 28])


@pytest.mark.parametrize("worth", [3.0, 12.0])
def test_a_prior_s_worth_comes_back_from_its_track_record(worth):
    dice = np.random.default_rng(0)
    p = dice.uniform(0.2, 0.8, 20_000)
    n = dice.integers(2, 9, 20_000)
    mean = dice.binomial(n, dice.beta(worth * p, worth * (1 - p))) / n
    spread = p * (1 - p)
    record = (float(((mean - p) ** 2).sum()), float((spread / n).sum()), float((spread * (1 - 1 / n)).sum()))
    assert prior_strength(*record, 100.0) == pytest.approx(worth, rel=0.1)
    assert prior_strength(*record, 2.0) == 2.0


def test_a_useless_prior_is_worth_nothing_and_a_perfect_one_the_most():
    assert prior_strength(10.0, 1.0, 5.0, 32.0) == 0.0
    assert prior_strength(0.9, 1.0, 5.0, 32.0) == 32.0
    assert prior_strength(0.05, 0.0, 0.25, 32.0) == pytest.approx(4.0)
