"""Ratios of a row, and every surrogate's numbers by hand: values, slopes, and where the gradient ends."""

import math

import pytest
import torch

from critica.functional.ratios import (
    clip_fraction,
    clipped_surrogate,
    clipped_weight_surrogate,
    gamma_weight,
    geometric_mean_surrogate,
    leveled,
    shift_clipped_surrogate,
    soft_clipped_surrogate,
)
from critica.functional.ratios import (
    ratio as ratio_of,
)

F64 = torch.float64
MASK = torch.tensor([[True, True, False, True]])
LOGS = torch.tensor([[0.3, -0.6, 50.0, 0.9]], dtype=F64)  # the third token is not in the mask


def grid(*values):
    return torch.tensor([values], dtype=F64)


def test_a_row_ratio_is_the_masked_mean_or_sum_and_passes_its_gradient_token_by_token():
    assert torch.equal(leveled(LOGS, MASK, "token"), LOGS)
    assert leveled(LOGS, MASK, "sequence_sum").tolist()[0] == pytest.approx([0.6] * 4)
    assert leveled(LOGS, MASK, "sequence_mean").tolist()[0] == pytest.approx([0.2] * 4)
    leaf = LOGS.clone().requires_grad_()
    pull = grid(1.0, 10.0, 100.0, 1000.0)
    (leveled(leaf, MASK, "sequence_mean") * pull).sum().backward()
    assert leaf.grad.tolist() == pull.tolist()  # each token's own, undivided: the reduction divides by the length
    empty = leveled(LOGS, MASK & False, "sequence_mean")
    assert empty.tolist()[0] == [0.0] * 4


def test_averaged_over_its_tokens_a_row_ratio_has_the_gradient_of_the_row_ratio():
    """GSPO: d s / d log pi_t = s / L for every token of the row."""
    leaf = LOGS.clone().requires_grad_()
    torch.exp(leveled(leaf, MASK, "sequence_mean"))[MASK].mean().backward()
    s = math.exp(0.2)
    assert leaf.grad.tolist()[0] == pytest.approx([s / 3, s / 3, 0.0, s / 3])


def test_shift_clip_is_the_ratio_clip_in_probabilities():
    center = grid(0.5, 0.5, 0.1, 0.1).log()
    ratio, advantage = grid(1.6, 0.3, 2.5, 3.5), grid(2.0, -2.0, 2.0, -2.0)
    values, silenced = shift_clipped_surrogate(ratio, advantage, center, 0.2)
    # widths in ratio: 0.4, 0.4, 2, 2
    assert values.tolist()[0] == pytest.approx([-2 * 1.4, 2 * 0.6, -5.0, 7.0])
    assert silenced.tolist()[0] == [True, True, False, False]
    inside, kept = shift_clipped_surrogate(grid(0.9, 1.1), grid(-2.0, 2.0), grid(0.5, 0.5).log(), 0.2)
    assert inside.tolist()[0] == pytest.approx([1.8, -2.2]) and not kept.any()
    sure = torch.zeros(1, 4, dtype=F64)
    same, _ = shift_clipped_surrogate(ratio, advantage, sure, 0.2)
    torch.testing.assert_close(same, clipped_surrogate(ratio, advantage, 0.2, 0.2))


@pytest.mark.parametrize(("positive", "negative"), [(1.0, 1.05), (2.0, 0.5)])
def test_soft_clip_by_hand(positive, negative):
    ratio, advantage = grid(1.0, 1.7, 1.0, 0.4), grid(2.0, 2.0, -3.0, -3.0)
    values = soft_clipped_surrogate(ratio, advantage, positive, negative)
    sigmoid = [1 / (1 + math.exp(-tau * x)) for tau, x in ((positive, 0.7), (negative, -0.6))]
    expected = [
        -4 / positive * 0.5 * 2,
        -4 / positive * sigmoid[0] * 2,
        12 / negative * 0.5,
        12 / negative * sigmoid[1],
    ]
    assert values.tolist()[0] == pytest.approx(expected)
    leaf = grid(1.0, 1.0).requires_grad_()
    soft_clipped_surrogate(leaf, grid(2.0, -3.0), positive, negative).sum().backward()
    assert leaf.grad.tolist()[0] == pytest.approx([-2.0, 3.0])  # slope 1 at ratio 1, whatever the temperature
    far = grid(3.0, 0.1).requires_grad_()
    soft_clipped_surrogate(far, grid(2.0, -3.0), positive, negative).sum().backward()
    slopes = [4 * s * (1 - s) for s in (1 / (1 + math.exp(-positive * 2)), 1 / (1 + math.exp(negative * 0.9)))]
    assert far.grad.tolist()[0] == pytest.approx([-2 * slopes[0], 3 * slopes[1]])


def test_a_clipped_weight_never_loses_its_gradient():
    logs = grid(-0.1, -2.0, -1.0, -0.5).requires_grad_()
    ratio, advantage = grid(9.0, 9.0, 0.1, 1.1), grid(2.0, -2.0, 1.0, 1.0)
    values = clipped_weight_surrogate(ratio, logs, advantage, 0.5, 5.0)
    assert values.tolist()[0] == pytest.approx([1.0, -20.0, 0.5, 0.55])
    values.sum().backward()
    assert logs.grad.tolist()[0] == pytest.approx([-10.0, 10.0, -0.5, -1.1])


def test_the_weight_is_no_path_for_gradient():
    ratio = grid(1.1).requires_grad_()
    values = clipped_weight_surrogate(ratio, grid(-0.5), grid(1.0), 0.0, 5.0)
    assert not values.requires_grad
    assert not gamma_weight(ratio, 2.0, 3.0).requires_grad


def test_geometric_mean_by_hand():
    advantage = torch.full_like(LOGS, 2.0)
    values, clipped = geometric_mean_surrogate(LOGS, advantage, MASK, 0.4, 0.4)
    # 0.3, -0.6 and 0.9 clipped to 0.4 from above only, for the advantage is positive
    assert values[0, 0].item() == pytest.approx(-2 * math.exp((0.3 - 0.6 + 0.4) / 3))
    assert clipped.tolist()[0] == [False, False, False, True]
    values, clipped = geometric_mean_surrogate(LOGS, -advantage, MASK, 0.4, 0.4)
    assert values[0, 0].item() == pytest.approx(2 * math.exp((0.3 - 0.4 + 0.9) / 3))
    assert clipped.tolist()[0] == [False, True, False, False]


def test_without_clipping_the_geometric_mean_is_the_row_ratio_of_gspo():
    leaf = LOGS.clone().requires_grad_()
    advantage = torch.full_like(LOGS, -0.7)
    values, clipped = geometric_mean_surrogate(leaf, advantage, MASK, 100.0, 100.0)
    plain = 0.7 * torch.exp(leveled(leaf, MASK, "sequence_mean"))
    torch.testing.assert_close(values[MASK], plain[MASK])
    assert not clipped.any()
    found = torch.autograd.grad(values[MASK].mean(), leaf, retain_graph=True)[0]
    torch.testing.assert_close(found, torch.autograd.grad(plain[MASK].mean(), leaf)[0])
    assert found[0, 0].item() == pytest.approx(0.7 * math.exp(0.2) / 3)


def test_a_token_clipped_in_log_space_passes_nothing_on():
    leaf = LOGS.clone().requires_grad_()
    values, _ = geometric_mean_surrogate(leaf, torch.full_like(LOGS, 2.0), MASK, 0.4, 0.4)
    values[MASK].mean().backward()
    s = math.exp(0.1 / 3)
    assert leaf.grad.tolist()[0] == pytest.approx([-2 * s / 3, -2 * s / 3, 0.0, 0.0])


def test_gamma_weight_by_hand():
    weight = gamma_weight(grid(1.0, 0.5, 2.0), 2.0, 3.0)
    expected = [1.0, 0.25 * math.exp(1.5), 4 * math.exp(-3.0)]
    assert weight.tolist()[0] == pytest.approx(expected)
    places = torch.linspace(0.01, 4, 400, dtype=F64)
    assert places[gamma_weight(places, 3.0, 2.0).argmax()].item() == pytest.approx(1.5, abs=0.011)


def test_clip_fraction_counts_either_side_by_the_sign_of_the_credit():
    ratio = grid(1.25, 1.25, 0.75, 0.75, 1.05, 0.95)
    advantage = grid(1.0, -1.0, 1.0, -1.0, 1.0, -1.0)
    assert clip_fraction(ratio, advantage, 0.2, 0.2).tolist()[0] == [True, False, False, True, False, False]
    assert clip_fraction(ratio, advantage, 0.3, 0.3).tolist()[0] == [False] * 6


def test_far_ratios_are_clamped_on_both_sides():
    far = grid(-500.0, 0.0, 500.0)
    found = ratio_of(grid(0.0, 0.0, 0.0) + far, grid(0.0, 0.0, 0.0))
    assert found.tolist()[0] == pytest.approx([math.exp(-20), 1.0, math.exp(20)])
