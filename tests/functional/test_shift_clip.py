"""The trust region in probability: by hand, and where it meets the ratio's clip."""

import torch

from critica.functional.ratios import clipped_surrogate, shift_clipped_surrogate


def test_by_hand():
    """mu .1: ratios in [-1, 3]; mu .8: in [.75, 1.25]."""
    mu = torch.tensor([0.1, 0.1, 0.8, 0.8]).log()
    ratio, advantage = torch.tensor([2.5, 4.0, 1.5, 0.5]), torch.tensor([1.0, 1.0, 1.0, -1.0])
    loss, silenced = shift_clipped_surrogate(ratio, advantage, mu, 0.2)
    torch.testing.assert_close(loss, torch.tensor([-2.5, -3.0, -1.25, 0.75]))
    assert silenced.tolist() == [False, True, True, True]


def test_for_a_certain_token_it_is_the_ratio_clip():
    ratio, advantage = 1 + torch.randn(50), torch.randn(50)
    loss, _ = shift_clipped_surrogate(ratio, advantage, torch.zeros(50), 0.2)
    torch.testing.assert_close(loss, clipped_surrogate(ratio, advantage, 0.2, 0.2))
