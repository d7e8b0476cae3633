"""The choice of a power: rates behind counts, scores by hand, and that pass@k asks for more of it."""

from math import sqrt

import numpy as np
import pytest

from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import change_recipe
from critica.training import power_choice
from critica.training.power_choice import RateLaw, choose_power, fit_rates

RL2ML = RECIPES["rl2ml"]


def test_rates_are_found_behind_noisy_counts():
    source = np.random.default_rng(0)
    rates = source.beta(0.8, 2.4, 4000)
    law = fit_rates([(8, float(right)) for right in source.binomial(8, rates)])
    assert law.mean == pytest.approx(0.25, abs=0.02)
    assert law.a + law.b == pytest.approx(3.2, rel=0.15)  # plain rates, noise included, would say 2.3
    points = law.points()
    assert sum(mass for _, mass in points) == pytest.approx(1)
    assert sum(p * mass for p, mass in points) == pytest.approx(law.mean, abs=0.003)


def test_counts_that_tell_nothing_are_refused():
    with pytest.raises(ValueError, match="answered once"):
        fit_rates([(1, 1.0), (1, 0.0)])
    with pytest.raises(ValueError, match="every answer was right"):
        fit_rates([(4, 4.0), (4, 4.0)])
    with pytest.raises(ValueError, match="no power to choose"):
        choose_power(RECIPES["grpo"], RateLaw(1.0, 1.0), 4)


def test_scores_by_hand(monkeypatch):
    """All prompts at p = 1/2, groups of two, no baseline: credit 2^power for one right answer and 1 for two."""
    monkeypatch.setattr(RateLaw, "points", lambda law: [(0.5, 1.0)])
    plain = change_recipe(RL2ML, ["advantage.baseline=none"], PARTS)
    found = dict(choose_power(plain, RateLaw(1.0, 1.0), 2).scores)
    scores = {}
    for power in (0.0, 1.0, 2.0):
        # estimates along the logit: one right (chance 1/2): 2^power / 2 / 2; two right (1/4): 1 / 2
        values, chances = [0.0, 2**power / 4, 0.5], [0.25, 0.5, 0.25]
        mean = sum(c * v for c, v in zip(chances, values, strict=True))
        square = sum(c * v * v for c, v in zip(chances, values, strict=True))
        scores[power] = mean * 0.25 / sqrt(square - mean**2)
    assert found[0.0] / found[1.0] == pytest.approx(scores[0.0] / scores[1.0])
    assert found[2.0] / found[1.0] == pytest.approx(scores[2.0] / scores[1.0])
    assert max(found.values()) == 1.0


def test_more_tries_ask_for_more_power(monkeypatch):
    monkeypatch.setattr(power_choice, "POWERS", (0.0, 0.5, 1.0, 1.5))
    law = RateLaw(0.8, 1.2)
    one, many = (choose_power(RL2ML, law, 8, tries).best for tries in (1, 8))
    assert many > one
