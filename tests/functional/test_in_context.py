"""V_0's mathematics: what the rank loss cannot see, the kernel's two limits, and a population of policies."""

import numpy as np
import pytest
import torch

from critica.functional.beta import beta_mean
from critica.functional.in_context import (
    best_bandwidth,
    context_loss,
    cross_entropy,
    kernel_rates,
    kernel_weights,
    rank_loss,
)
from critica.functional.statistics import auc
from critica.functional.text_features import ngram_features

GOOD = torch.tensor([1.0, 0.0, 2.0, 0.0]).double()
BAD = torch.tensor([0.0, 1.0, 1.0, 3.0]).double()


def test_the_rank_loss_by_hand():
    logits = torch.tensor([1.0, 0.0]).double()
    one = rank_loss(logits, torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double())
    assert float(one) == pytest.approx(np.log1p(np.exp(-1.0)))
    same_prompt = rank_loss(logits, torch.tensor([1.0, 0.0]).double(), torch.tensor([1.0, 0.0]).double())
    assert float(same_prompt) == 0.0


def test_strength_of_the_policy_moves_cross_entropy_but_not_the_rank_loss():
    logits = torch.tensor([0.3, -0.2, 0.9, -1.0], dtype=torch.double, requires_grad=True)
    shift = torch.tensor(0.7, dtype=torch.double, requires_grad=True)
    for loss, moves in ((rank_loss, False), (cross_entropy, True)):
        plain = torch.autograd.grad(loss(logits, GOOD, BAD), logits)[0]
        shifted = loss(logits + shift, GOOD, BAD)
        gradient, by_shift = torch.autograd.grad(shifted, (logits, shift))
        plain_loss = float(loss(logits.detach(), GOOD, BAD))
        assert (float(shifted.detach()) != pytest.approx(plain_loss)) is moves
        assert bool(torch.allclose(plain, gradient)) is not moves
        assert (abs(float(by_shift)) > 1e-12) is moves


def test_the_mixture_of_both_prefers_right_order_and_right_level():
    counts = GOOD + BAD
    right = context_loss((GOOD + 1) / (counts + 2), GOOD, counts)
    assert right < context_loss(torch.full((4,), 0.375).double(), GOOD, counts)
    assert right < context_loss(((GOOD + 1) / (counts + 2)).flip(0), GOOD, counts)


def test_width_zero_is_the_prompt_s_own_posterior_and_width_infinity_the_record_s_mean():
    distances = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]).double()
    totals, counts = torch.tensor([3.0, 0.0, 1.0]).double(), torch.tensor([4.0, 2.0, 1.0]).double()
    own, support = kernel_rates(distances, 0.0, totals, counts, 0.5, 2.0)
    torch.testing.assert_close(
        own, beta_mean(torch.tensor([3.0, 0.0]).double(), torch.tensor([4.0, 0.0]).double(), 0.5, 2.0)
    )
    assert support.tolist() == [4.0, 0.0]
    flat, _ = kernel_rates(distances, float("inf"), totals, counts, 0.5, 2.0)
    assert flat.tolist() == pytest.approx([(1 + 4) / 9] * 2)
    near, _ = kernel_rates(distances, 1.0, totals, counts, 0.5, 0.0)
    w = np.exp(-0.5 * np.array([0.0, 1.0, 4.0]))
    assert float(near[0]) == pytest.approx((3 * w[0] + w[2]) / (4 * w[0] + 2 * w[1] + w[2]))
    with pytest.raises(ValueError, match="negative"):
        kernel_weights(distances, -1.0)


def test_a_record_is_a_set():
    torch.manual_seed(0)
    points, asked = torch.randn(9, 3).double(), torch.randn(4, 3).double()
    totals, counts = torch.rand(9).double(), torch.ones(9).double()
    order = torch.randperm(9)
    one = kernel_rates(torch.cdist(asked, points), 0.8, totals, counts, 0.5, 1.0)[0]
    other = kernel_rates(torch.cdist(asked, points[order]), 0.8, totals[order], counts[order], 0.5, 1.0)[0]
    torch.testing.assert_close(one, other)


def population(informative, seed):
    """Policies with skills along four topics; prompts show their topic, or not. AUC of the kernel and of the mean."""
    dice = np.random.default_rng(seed)
    scores, means, labels = [], [], []
    for _ in range(12):
        skill = dice.normal(0, 2.0, 4)
        topic = dice.integers(0, 4, 160)
        shown = np.eye(4)[topic] if informative else np.zeros((160, 4))
        points = torch.from_numpy(shown + dice.normal(0, 0.15, (160, 4)))
        outcome = torch.from_numpy((dice.random(160) < 1 / (1 + np.exp(-skill[topic]))).astype(float))
        ones = torch.ones(128).double()
        record, asked = points[:128], points[128:]
        base = float(outcome[:128].mean())
        typical = float(torch.cdist(record, record).median())
        widths = [float("inf"), typical, 0.5 * typical, 0.25 * typical]
        width = best_bandwidth(torch.cdist(record, record), outcome[:128], ones, base, 2.0, widths)
        scores += kernel_rates(torch.cdist(asked, record), width, outcome[:128], ones, base, 2.0)[0].tolist()
        means += [base] * 32
        labels += outcome[128:].tolist()
    return auc(scores, labels), auc(means, labels)


def test_looking_at_the_prompt_beats_knowing_the_policy_s_mean_only_if_prompts_tell():
    kernel, mean = population(True, 0)
    assert kernel > mean + 0.08
    kernel, mean = population(False, 0)
    assert kernel < mean + 0.02


def test_features_are_the_same_everywhere_and_tell_texts_apart():
    one, same, other, longer = (ngram_features(t) for t in ("12+3-4: ", "12+3-4: ", "71+9-5: ", "12+3-4-1+2+2+4: "))
    assert torch.equal(one, same) and one.shape == (257,)
    assert float((one - other).norm()) > 0
    assert float(one[:-1].norm()) == pytest.approx(1.0)
    assert float((one - other).norm()) < float((one - longer).norm())
    assert float((one - ngram_features("name a red fruit")).norm()) > float((one - longer).norm())
    assert ngram_features("").isfinite().all()
