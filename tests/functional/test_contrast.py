"""Weights of mean one: the published numbers, ties, and a two-token world where the sign of every update is known."""

import itertools
import math

import pytest
import torch

from critica.functional.contrast import (
    average_ranks,
    contrast,
    linear_weights,
    mean_one,
    rank_power,
    rank_weights,
    softmax_weights,
    top_weights,
)

F64 = torch.float64
SPREADS = {
    "rank": lambda d, m: rank_weights(d, m, 0.4, 0.8),
    "softmax": softmax_weights,
    "linear": linear_weights,
    "top": lambda d, m: top_weights(d, m, 0.4),
}


def whole(values):
    return torch.ones_like(values, dtype=torch.bool)


def test_the_contrast_is_k3_by_hand_cut_at_ten_and_at_rounding():
    own = torch.log(torch.tensor([[0.5, 0.5, 0.5, 0.5, 1e-9]], dtype=F64))
    other = torch.log(torch.tensor([[0.25, 1.0, 0.5, 0.50001, 1.0]], dtype=F64))
    found = contrast(own, other, 1e-4)[0].tolist()
    assert found[:2] == pytest.approx([0.5 + math.log(2) - 1, 2 - math.log(2) - 1])
    assert found[2:4] == [0.0, 0.0] and found[4] == 10.0
    assert contrast(own, other, 0.0)[0, 3] > 0


def test_the_power_puts_the_mass_where_it_should():
    power = rank_power(0.4, 0.8)
    assert power == pytest.approx(2.1507, abs=1e-4)
    assert 1 - 0.6 ** (power + 1) == pytest.approx(0.8)
    assert rank_power(0.4, 0.4) == 0.0


@pytest.mark.parametrize(("length", "mass"), [(50, 0.796), (1000, 0.800)])
def test_rank_weights_have_the_published_mass_and_peak(length, mass):
    values = torch.randperm(length, generator=torch.Generator().manual_seed(0)).to(F64)[None]
    weights = rank_weights(values, whole(values), 0.4, 0.8)
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-12)
    ordered = weights[0].sort(descending=True).values
    assert float(ordered[: int(0.4 * length)].sum() / length) == pytest.approx(mass, abs=5e-4)
    assert float(ordered[0]) == pytest.approx(rank_power(0.4, 0.8) + 1, rel=2 / length * 2)
    assert torch.equal(values[0].argsort(), weights[0].argsort())  # the larger the contrast, the more weight


def test_equal_values_share_the_mean_of_their_ranks():
    values = torch.tensor([[3.0, 1.0, 3.0, 3.0, 9.0, 2.0]])
    mask = torch.tensor([[True, True, True, True, False, True]])
    assert average_ranks(values, mask).tolist() == [[4.0, 1.0, 4.0, 4.0, 0.0, 2.0]]


@pytest.mark.parametrize("name", SPREADS)
def test_equal_values_weigh_exactly_one_wherever_they_stand(name):
    """Ranks by position (argsort) would give the last of nine equal tokens a weight of about 2.6 and the first 0.02."""
    mask = torch.tensor([[False] + [True] * 9, [True] * 3 + [False] * 7])
    for value in (0.0, 0.3):
        weights = SPREADS[name](torch.full((2, 10), value), mask)
        assert torch.equal(weights, mask.double())


def test_ranks_by_position_are_another_rule():
    values = torch.zeros(1, 9, dtype=F64)
    ranks = torch.empty(9, dtype=F64)
    ranks[values[0].argsort(stable=True)] = torch.arange(1, 10, dtype=F64)
    by_position = (ranks / 9) ** rank_power(0.4, 0.8)
    by_position = by_position / by_position.mean()
    ours = rank_weights(values, whole(values), 0.4, 0.8)[0]
    assert torch.equal(ours, torch.ones(9, dtype=F64))
    assert float(by_position.max() - by_position.min()) > 2


@pytest.mark.parametrize("name", SPREADS)
def test_every_spread_has_mean_one_and_looks_at_its_own_row_alone(name):
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(5, 12, generator=generator).square()
    mask = torch.rand(5, 12, generator=generator) < 0.7
    weights = SPREADS[name](values, mask)
    torch.testing.assert_close(weights.sum(-1), mask.sum(-1).double(), atol=1e-12, rtol=0)
    assert (weights >= 0).all() and weights[~mask].abs().sum() == 0
    alone = SPREADS[name](values[3:4], mask[3:4])
    torch.testing.assert_close(weights[3:4], alone, atol=1e-12, rtol=0)
    unmasked = SPREADS[name](values[3, mask[3]][None], torch.ones(1, int(mask[3].sum()), dtype=torch.bool))
    torch.testing.assert_close(weights[3, mask[3]], unmasked[0], atol=1e-12, rtol=0)


def test_the_other_spreads_by_hand():
    values, mask = torch.tensor([[0.0, 1.0, 2.0, 4.0, 3.0]], dtype=F64), torch.ones(1, 5, dtype=torch.bool)
    assert top_weights(values, mask, 0.4)[0].tolist() == pytest.approx([0, 0, 0, 20 / 7, 15 / 7])
    raw = torch.tensor([0.2, 0.25, 0.5, 1.0, 0.75])
    assert linear_weights(values, mask)[0].tolist() == pytest.approx((raw / raw.mean()).tolist())
    soft = torch.softmax(values / 4 / 0.1, -1) * 5
    torch.testing.assert_close(softmax_weights(values, mask), soft)


def test_an_empty_row_weighs_nothing():
    values, mask = torch.rand(2, 4), torch.tensor([[False] * 4, [True] * 4])
    for spread in SPREADS.values():
        assert spread(values, mask)[0].tolist() == [0.0] * 4
    assert mean_one(values, mask)[0].tolist() == [0.0] * 4


def expected_update(first, second, other_second, weigh):
    """E[sum_t w_t A d log p(y_t)] over all answers of two independent tokens whose outcome is the second one."""
    update = [torch.zeros_like(first), torch.zeros_like(second)]
    for a, b in itertools.product(range(len(first)), range(len(second))):
        advantage = float(b == 1) - float(second[1])
        own = torch.stack((first[a], second[b])).log()[None]
        other = torch.stack((first[a], other_second[b])).log()[None]
        weights = rank_weights(contrast(own, other, 1e-4), whole(own), 0.4, 0.8)[0] if weigh else torch.ones(2)
        for place, (law, token) in enumerate(((first, a), (second, b))):
            score = -law.clone()
            score[token] += 1
            update[place] += first[a] * second[b] * weights[place] * advantage * score
    return update


def test_where_only_the_second_token_matters_the_expected_update_keeps_its_sign():
    """The guidance turns the second token alone: it gets the larger weight, and the first is still not moved."""
    first, second = torch.tensor([0.3, 0.7], dtype=F64), torch.tensor([0.6, 0.4], dtype=F64)
    guided = torch.tensor([0.9, 0.1], dtype=F64)
    plain, spread = (expected_update(first, second, guided, weigh) for weigh in (False, True))
    for update in (plain, spread):
        torch.testing.assert_close(update[0], torch.zeros(2, dtype=F64), atol=1e-12, rtol=0)
        assert update[1][1] > 0 > update[1][0]
    assert spread[1][1] > 1.5 * plain[1][1]


def test_weights_of_the_drawn_tokens_are_no_baseline():
    """Three second tokens, one of which the guidance leaves alone: its rows weigh both tokens alike, and the expected
    update is no multiple of the return's gradient any more."""
    first, second = torch.tensor([0.3, 0.7], dtype=F64), torch.tensor([0.5, 0.3, 0.2], dtype=F64)
    guided = torch.tensor([0.65, 0.15, 0.2], dtype=F64)
    plain, spread = (expected_update(first, second, guided, weigh)[1] for weigh in (False, True))
    exact = second[1] * (torch.tensor([0.0, 1.0, 0.0], dtype=F64) - second)
    torch.testing.assert_close(plain, exact, atol=1e-12, rtol=0)
    factor = (spread @ exact) / (exact @ exact)
    assert float((spread - factor * exact).abs().max()) > 0.01 and spread[1] > 0
