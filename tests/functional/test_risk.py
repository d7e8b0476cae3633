"""Distortion risk measures: by hand, at their neutral settings, in order, and alike for every kind of law."""

from functools import partial

import pytest
import torch

from critica.functional import risk
from critica.functional.quantiles import midpoint_levels

FOUR = midpoint_levels(4, torch.float64)
STAIRS = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
AVERSE = [
    partial(risk.cvar_distortion, alpha=0.3),
    partial(risk.wang_distortion, eta=-0.7),
    partial(risk.power_distortion, eta=-1.5),
]
NEUTRAL = [
    partial(risk.cvar_distortion, alpha=1.0),
    partial(risk.wang_distortion, eta=0.0),
    partial(risk.power_distortion, eta=0.0),
    partial(risk.cumulative_distortion, exponent=1.0),
]


@pytest.mark.parametrize("neutral", NEUTRAL)
def test_neutral_settings_are_the_mean(neutral):
    values = torch.rand(5, 9, dtype=torch.float64).sort(-1).values
    torch.testing.assert_close(risk.distorted_quantiles(midpoint_levels(9).double(), values, neutral), values.mean(-1))
    probs = torch.rand(5, 9, dtype=torch.float64).softmax(-1)
    atoms = torch.linspace(-1, 2, 9, dtype=torch.float64)
    torch.testing.assert_close(risk.distorted_categorical(atoms, probs, neutral), probs @ atoms)
    assert risk.distorted_normal(neutral) == pytest.approx(0.0, abs=1e-9)


def test_cvar_by_hand():
    def cvar(alpha):
        return float(risk.distorted_quantiles(FOUR, STAIRS[None], partial(risk.cvar_distortion, alpha=alpha)))

    assert cvar(0.25) == 0.0  # the lowest quantile
    assert cvar(0.5) == 0.5
    assert cvar(0.375) == pytest.approx((0.25 * 0 + 0.125 * 1) / 0.375)
    assert cvar(1.0) == 2.0
    assert all(cvar(a) <= cvar(b) + 1e-12 for a, b in [(0.1, 0.3), (0.3, 0.55), (0.55, 0.8), (0.8, 1.0)])


def test_power_is_the_expected_worst_of_several_draws():
    """Of two throws of a coin with p = .3 the worse is 1 with probability .09; of a die's three, by enumeration."""
    coin, sides = torch.tensor([[0.7, 0.3]], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    worse = risk.distorted_categorical(sides, coin, partial(risk.power_distortion, eta=-1.0))
    assert float(worse) == pytest.approx(0.09)
    better = risk.distorted_categorical(sides, coin, partial(risk.power_distortion, eta=1.0))
    assert float(better) == pytest.approx(1 - 0.49)
    die = torch.full((1, 6), 1 / 6, dtype=torch.float64)
    worst = risk.distorted_categorical(
        torch.arange(1.0, 7).double(), die, partial(risk.power_distortion, eta=-2.0)
    )
    throws = torch.cartesian_prod(*[torch.arange(1.0, 7)] * 3).min(-1).values.double().mean()
    assert float(worst) == pytest.approx(float(throws))


def test_on_a_gaussian_wang_shifts_by_eta_and_cvar_has_its_closed_form():
    assert risk.distorted_normal(partial(risk.wang_distortion, eta=-0.75)) == pytest.approx(-0.75, abs=2e-3)
    point = torch.tensor(-0.6744897501960817)  # the 25% quantile
    density = float(torch.exp(-point.square() / 2) / (2 * torch.pi) ** 0.5)
    assert risk.distorted_normal(partial(risk.cvar_distortion, alpha=0.25)) == pytest.approx(-density / 0.25, abs=2e-3)


def test_prospect_weighting_gives_both_extremes_more():
    weigh = partial(risk.cumulative_distortion, exponent=0.71)
    levels = torch.tensor([0.0, 0.05, 0.95, 1.0], dtype=torch.float64)
    first, _, last = weigh(levels).diff().tolist()
    assert first > 0.05 and last > 0.05
    assert float(weigh(torch.tensor(0.05))) == pytest.approx(0.1065, abs=1e-4)


@pytest.mark.parametrize("averse", AVERSE)
def test_aversion_lies_below_the_mean_by_more_where_the_spread_is_wider(averse):
    narrow = torch.tensor([[0.4, 0.45, 0.55, 0.6]], dtype=torch.float64)
    wide = torch.tensor([[0.0, 0.2, 0.8, 1.0]], dtype=torch.float64)
    certain = torch.full((1, 4), 0.5, dtype=torch.float64)
    read = [float(risk.distorted_quantiles(FOUR, law, averse)) for law in (certain, narrow, wide)]
    assert read[0] == pytest.approx(0.5) and read[0] > read[1] > read[2]


@pytest.mark.parametrize("distortion", [*AVERSE, partial(risk.cumulative_distortion, exponent=0.6)])
def test_atoms_and_quantiles_of_one_law_agree(distortion):
    probs = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64)
    atoms = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    same = torch.tensor([[0.0, 0.4, 0.4, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(
        risk.distorted_categorical(atoms, probs, distortion), risk.distorted_quantiles(FOUR, same, distortion)
    )
