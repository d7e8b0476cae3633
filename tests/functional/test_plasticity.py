"""Plasticity's readings on features whose answer is known."""

import math

import pytest
import torch

from critica.functional.plasticity import dormant_share, effective_rank, weight_norm


def test_dormant_units_are_counted_relative_to_the_mean_unit():
    features = torch.tensor([[1.0, -1.0, 0.0, 0.02], [1.0, 1.0, 0.0, -0.02]])
    # Mean activity .505: .0125 and .02 lie below and above .025 times it.
    assert dormant_share(features) == 0.25
    assert dormant_share(features, threshold=0.05) == 0.5
    assert dormant_share(1000 * features) == 0.25
    assert dormant_share(torch.zeros(3, 4)) == 1.0
    assert math.isnan(dormant_share(torch.zeros(0, 4)))


def test_the_rank_of_one_direction_is_one_and_of_an_orthogonal_frame_all():
    line = torch.outer(torch.randn(50), torch.randn(6))
    assert effective_rank(line) == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(torch.eye(6).repeat(4, 1)) == pytest.approx(6.0)
    # Singular values 3 and 1: exp of the entropy of (3/4, 1/4).
    two = torch.diag(torch.tensor([3.0, 1.0]))
    assert effective_rank(two) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert math.isnan(effective_rank(torch.zeros(3, 2)))
    wide = torch.randn(4, 9, dtype=torch.float64)
    shares = torch.linalg.svdvals(wide) / torch.linalg.svdvals(wide).sum()
    wanted = float((-(shares * shares.log()).sum()).exp())
    assert effective_rank(wide) == pytest.approx(wanted) and effective_rank(wide.T) == pytest.approx(wanted)


def test_the_norm_is_of_all_weights_together():
    assert weight_norm([torch.tensor([3.0]), torch.tensor([[4.0]])]) == 5.0
