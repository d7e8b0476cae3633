"""The bottleneck's closed forms, and which tokens count as uncertain."""

import math

import pytest
import torch

from critica.functional.bottleneck import gaussian_kl, noisy_code, uncertain_tokens


def test_the_kl_by_hand_and_by_torch():
    one = gaussian_kl(torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[-0.5]], dtype=torch.float64))
    assert one.item() == pytest.approx(0.5 * (0.09 + math.exp(-0.5) - 1 + 0.5), abs=1e-12)
    assert one.item() == pytest.approx(0.098265, abs=1e-6)
    mean, logvar = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    law = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    assert torch.allclose(gaussian_kl(mean, logvar), torch.distributions.kl_divergence(law, prior).sum(-1))
    assert gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0.0, 0.0]


def test_without_variance_the_code_is_the_mean_bit_for_bit():
    mean, noise = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.equal(noisy_code(mean, torch.full_like(mean, -math.inf), noise), mean)
    assert torch.allclose(noisy_code(mean, torch.full_like(mean, 2 * math.log(3.0)), noise), mean + 3 * noise)


def test_uncertain_are_the_upper_tokens_of_each_row_by_either_measure():
    entropy = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 9.0], [5.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    surprise = torch.tensor([[8.0, 0.0, 0.0, 0.0, 0.1, 9.0], [0.0, 3.0, 0.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[True] * 5 + [False], [True, True, False, False, False, False]])
    chosen = uncertain_tokens(entropy, surprise, mask, 0.8)
    # Row 0: the .8-quantile of five is the fourth smallest, .4 of the entropies and .1 of the surprises.
    assert chosen.tolist() == [[True, False, False, True, True, False], [True, True, False, False, False, False]]
    assert uncertain_tokens(entropy, surprise, mask, 1.0).sum().item() == 4  # the largest of each measure in each row
    assert torch.equal(uncertain_tokens(entropy, surprise, mask, 0.0), mask)


def test_a_row_does_not_change_what_is_uncertain_in_another():
    entropy, surprise = torch.rand(4, 9), torch.rand(4, 9)
    mask = torch.rand(4, 9) < 0.7
    whole = uncertain_tokens(entropy, surprise, mask, 0.7)
    rows = [uncertain_tokens(entropy[i : i + 1], surprise[i : i + 1], mask[i : i + 1], 0.7) for i in range(4)]
    assert torch.equal(whole, torch.cat(rows))
    assert not whole[~mask].any()
