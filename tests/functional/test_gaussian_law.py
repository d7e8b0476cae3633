"""The Gaussian's loss by hand and at its limits, and pessimism against a maximum over noisy arms."""

import math

import pytest
import torch

from critica.functional.gaussian import gaussian_loss, pooled_gaussian


def test_loss_by_hand():
    """(1 - .4)^2 / (2 .25) + log .5 = .72 - .6931; balance 1 multiplies it by sigma^2."""
    one, spread, sample = torch.tensor([0.4]), torch.tensor([0.5]), torch.ones(1, 1)
    plain = 0.36 / 0.5 + math.log(0.5)
    assert float(gaussian_loss(one, spread, sample, sample, 0.0)) == pytest.approx(plain, abs=1e-6)
    assert float(gaussian_loss(one, spread, sample, sample, 1.0)) == pytest.approx(0.25 * plain, abs=1e-6)
    assert float(gaussian_loss(one, spread, sample, sample, 0.5)) == pytest.approx(0.5 * plain, abs=1e-6)


def test_a_spread_of_one_is_half_the_squared_error():
    mean, targets = torch.randn(6), torch.randn(6, 1)
    loss = gaussian_loss(mean, torch.ones(6), targets, torch.ones(6, 1), 0.0)
    torch.testing.assert_close(loss, 0.5 * (mean - targets[:, 0]).square())


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_the_minimizers_are_mean_and_standard_deviation(balance):
    samples = torch.tensor([[0.0, 1.0, 4.0]], dtype=torch.float64)
    weights = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    center = float((samples * weights).sum())
    wide = math.sqrt(float((weights * (samples - center).square()).sum()))
    mean = torch.tensor([center], dtype=torch.float64, requires_grad=True)
    spread = torch.tensor([wide], dtype=torch.float64, requires_grad=True)
    gaussian_loss(mean, spread, samples, weights, balance).sum().backward()
    assert abs(float(mean.grad)) < 1e-12 and abs(float(spread.grad)) < 1e-12
    narrow = torch.tensor([wide / 2], dtype=torch.float64, requires_grad=True)
    gaussian_loss(mean.detach(), narrow, samples, weights, balance).sum().backward()
    assert float(narrow.grad) < 0  # too narrow: a step against the gradient widens


def test_balance_one_pulls_the_mean_as_squared_error_does():
    mean = torch.tensor([0.2], requires_grad=True)
    gaussian_loss(mean, torch.tensor([3.0]), torch.ones(1, 1), torch.ones(1, 1), 1.0).sum().backward()
    assert float(mean.grad) == pytest.approx(-0.8)


def test_pooled_by_hand():
    mean, spread = pooled_gaussian(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]]))
    assert float(mean) == 0.5 and float(spread) == pytest.approx(math.sqrt(2.5 + 0.25))


def test_a_maximum_over_noisy_arms_is_biased_up_and_pessimism_takes_it_down():
    """Two arms of mean 0, 20 draws each: E max of the means is about .56 / sqrt(20); mu - sigma / 2 of it is not."""
    draws = torch.randn(4000, 2, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means, spreads = draws.mean(-1), draws.std(-1) / math.sqrt(20)
    hopeful = float(means.max(-1).values.mean())
    careful = float((means - 0.5 * spreads).max(-1).values.mean())
    assert hopeful == pytest.approx(0.564 / math.sqrt(20), abs=0.01)
    assert abs(careful) < hopeful / 2
