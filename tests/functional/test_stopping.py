"""The stop rule by hand: regret, its standardization, the smoothed signal, and the steering's sign."""

import math

import pytest
import torch

from critica.functional.stopping import (
    gives_up,
    moments,
    smoothed,
    standardized_regret,
    steered,
    steered_hazard,
    surrogate_regret,
)


def test_regret_is_the_gap_of_log_probs_and_zero_for_the_likeliest_token():
    logits = torch.tensor([[math.log(0.7), math.log(0.2), math.log(0.1)]] * 3) + torch.tensor([[0.0], [5.0], [-3.0]])
    regret = surrogate_regret(logits, torch.tensor([0, 1, 2]), 1.0)
    torch.testing.assert_close(regret, torch.tensor([0.0, math.log(3.5), math.log(7.0)]))
    torch.testing.assert_close(surrogate_regret(logits, torch.tensor([1, 1, 1]), 0.5)[0].item(), 2 * math.log(3.5))
    assert surrogate_regret(logits, logits.argmax(-1), 0.0).tolist() == [0.0] * 3


def test_five_tokens_by_hand():
    """mean 1, variance 4, clip 2, smoothing .5: regrets 1, 3, 9, 5, 0 standardize to 0, 1, 2 (clipped), 2, -.5."""
    regrets = [1.0, 3.0, 9.0, 5.0, 0.0]
    standard = [float(standardized_regret(torch.tensor([g]), 1.0, 4.0, 2.0, 0.0)) for g in regrets]
    assert standard == pytest.approx([0.0, 1.0, 2.0, 2.0, -0.5])
    signal, seen = torch.zeros(1), []
    for x in standard:
        signal = smoothed(signal, torch.tensor([x]), 0.5)
        seen.append(float(signal))
    assert seen == pytest.approx([0.0, 0.5, 1.25, 1.625, 0.5625])
    values = torch.tensor([0.9, 0.9, 0.9, 0.5, 0.9])
    stops = [bool(gives_up(torch.tensor([z]), v[None], 2.0)) for z, v in zip(seen, values, strict=True)]
    assert stops == [False, False, False, True, False]  # only 1.625 > 2 * .5


def test_a_value_below_zero_is_held_by_the_floor():
    assert bool(gives_up(torch.tensor([0.01]), torch.tensor([-5.0]), 7.0, floor=1e-3))
    assert not bool(gives_up(torch.tensor([0.006]), torch.tensor([-5.0]), 7.0, floor=1e-3))


def test_too_many_stops_raise_the_threshold():
    assert steered(7.0, 0.5, 0.25, 0.1, 0.5, 50.0) == pytest.approx(7.025)
    assert steered(7.0, 0.0, 0.25, 0.1, 0.5, 50.0) == pytest.approx(6.975)
    assert steered(0.5, 0.0, 1.0, 0.9, 0.5, 50.0) == 0.5


def test_moments_by_hand_and_the_hazards_sign():
    assert moments(4, 10.0, 30.0) == pytest.approx((2.5, 1.25))  # 1, 2, 3, 4
    assert moments(3, 0.3, 0.03 - 1e-12)[1] == 0.0
    assert steered_hazard(0.1, 0.5, 0.25) == pytest.approx(0.075)
    assert steered_hazard(0.1, 0.0, 0.25) == pytest.approx(0.125)
