"""Weights of prompts and pairs: by hand, by enumeration, and what they do to minorities and to wrong labels."""

import itertools
import math

import pytest
import torch

from critica.functional.preferences import logistic_losses
from critica.functional.robust_losses import chi2_ball_weights, tail_weights, tilted_weights
from critica.objectives.pair_rules import Logistic
from critica.objectives.pair_weights import EvenPairs, Tilt, WorstMix, WorstShare
from critica.objectives.preference import PairLoss
from objectives.test_preference import F64, example, loss_of

LOSSES = torch.tensor([0.3, 2.0, 0.7], dtype=F64)
BASE = torch.tensor([0.5, 0.2, 0.3], dtype=F64)


def chi2(q, p):
    return float(((q - p).square() / p).sum())


def test_chi2_ball_by_hand():
    mean = float(LOSSES @ BASE)
    variance = float(((LOSSES - mean) ** 2) @ BASE)
    best = chi2_ball_weights(LOSSES, BASE, 0.05)
    assert float(best @ LOSSES) == pytest.approx(mean + math.sqrt(0.05 * variance))  # no unit is dropped
    assert chi2(best, BASE) == pytest.approx(0.05) and float(best.sum()) == pytest.approx(1.0)
    assert chi2_ball_weights(LOSSES, BASE, 0.0).tolist() == BASE.tolist()
    assert chi2_ball_weights(LOSSES, BASE, 4.0).tolist() == [0.0, 1.0, 0.0]  # 1 / .2 - 1
    with pytest.raises(ValueError, match="negative"):
        chi2_ball_weights(LOSSES, BASE, -1.0)


@pytest.mark.parametrize("radius", [0.05, 1.0, 2.5])
def test_chi2_ball_is_the_worst_of_all_mixes_inside(radius):
    best = chi2_ball_weights(LOSSES, BASE, radius)
    assert chi2(best, BASE) == pytest.approx(radius, abs=1e-8) and float(best.min()) >= 0
    worst = 0.0
    for i, j in itertools.product(range(101), repeat=2):
        if i + j <= 100:
            q = torch.tensor([i, j, 100 - i - j], dtype=F64) / 100
            if chi2(q, BASE) <= radius:
                worst = max(worst, float(q @ LOSSES))
    assert worst <= float(best @ LOSSES) + 1e-9 and float(best @ LOSSES) - worst < 0.03


def test_tails_by_hand():
    assert tail_weights(LOSSES, BASE, 1.0).tolist() == pytest.approx(BASE.tolist())
    assert tail_weights(LOSSES, BASE, 0.4).tolist() == pytest.approx([0.0, 0.5, 0.5])
    assert tail_weights(LOSSES, BASE, 0.1).tolist() == pytest.approx([0.0, 1.0, 0.0])
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        tail_weights(LOSSES, BASE, 0.0)


def test_tilts_by_hand():
    losses = torch.tensor([0.0, math.log(3.0)], dtype=F64)
    even = torch.tensor([0.5, 0.5], dtype=F64)
    assert tilted_weights(losses, even, 1.0).tolist() == pytest.approx([0.25, 0.75])
    assert tilted_weights(losses, even, -1.0).tolist() == pytest.approx([0.75, 0.25])
    assert tilted_weights(losses, BASE[:2], math.inf).tolist() == pytest.approx([5 / 7, 2 / 7])
    with pytest.raises(ValueError, match="cannot be 0"):
        tilted_weights(losses, even, 0.0)


PARTS = [WorstMix("kl", 0.1), WorstMix("tv", 0.2), WorstMix("chi2", 0.3), WorstShare(0.5),
         Tilt(0.5), Tilt(-0.5), Tilt(0.5, "prompt"), Tilt(-0.5, "prompt")]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_weights_have_mean_one_follow_the_loss_and_leave_the_rest_alone(part):
    torch.manual_seed(1)
    losses = torch.rand(6, 6, dtype=F64) * 3
    group = torch.tensor([0, 0, 0, 1, 1, 1])
    pairs = (group[:, None] == group) & torch.ones(6, 6, dtype=torch.bool).triu(1)
    found = part.of(losses, pairs, group)
    assert float(found[pairs].mean()) == pytest.approx(1.0) and not found[~pairs].any()
    prompt = [found[:3, :3][pairs[:3, :3]], found[3:, 3:][pairs[3:, 3:]]]
    means = [losses[:3, :3][pairs[:3, :3]].mean(), losses[3:, 3:][pairs[3:, 3:]].mean()]
    sign = -1 if isinstance(part, Tilt) and part.temperature < 0 else 1
    if isinstance(part, Tilt) and part.per == "pair":
        order = losses[pairs].argsort()
        assert bool((sign * found[pairs][order].diff() > 0).all())
    else:
        assert all(bool((one == one[0]).all()) for one in prompt)
        assert sign * (prompt[0][0] - prompt[1][0]) * (means[0] - means[1]) > 0
    assert not part.of(losses, pairs & False, group).any()


@pytest.mark.parametrize(
    "part", [WorstMix("kl", 0.0), WorstMix("tv", 0.0), WorstMix("chi2", 0.0), WorstShare(1.0), Tilt(1e9), Tilt(-1e9)]
)
def test_no_robustness_is_dpo(part):
    plain, _ = loss_of(PairLoss(Logistic(0.5)), *example())
    found, _ = loss_of(PairLoss(Logistic(0.5), weights=part), *example())
    assert float(found) == pytest.approx(float(plain), abs=1e-8)


@pytest.mark.parametrize("part", [WorstMix("kl", 0.05), WorstMix("chi2", 0.1), WorstMix("tv", 0.1), WorstShare(0.5)])
def test_the_slope_is_that_of_the_worst_case(part):
    """Danskin: weights are constants to the gradient, and yet it is the gradient of the maximum."""
    batch, told, credit, policy, initial = example()
    objective = PairLoss(Logistic(0.5), weights=part)

    def loss(logprobs):
        return loss_of(objective, batch, told, credit, logprobs, initial, policy.detach())[0]

    assert torch.autograd.gradcheck(loss, policy.clone().requires_grad_(), atol=1e-6)


def shared_preference(part, shares):
    """The gap s at which a policy rests that must treat prompts alike: `shares` of pairs say s up, the rest s down."""
    up, down = shares
    count = up + down
    pairs = torch.zeros(2 * count, 2 * count, dtype=torch.bool)
    group = torch.arange(count).repeat_interleave(2)
    for prompt in range(count):
        pairs[2 * prompt, 2 * prompt + 1] = True
    sign = torch.tensor([1.0] * up + [-1.0] * down, dtype=F64).repeat_interleave(2)[:, None].expand_as(pairs)

    def pull(gap):
        s = torch.tensor(gap, dtype=F64, requires_grad=True)
        losses = logistic_losses(sign * s, 1.0, torch.ones_like(sign))
        weight = part.of(losses.detach(), pairs, group)
        (weight * losses)[pairs].mean().backward()
        return float(s.grad)

    low, high = -6.0, 6.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if pull(middle) < 0 else (low, middle)
    return low


def test_a_minority_is_served_or_given_up():
    """Four prompts want the gap up and one down: DPO serves the four, the worst mix everyone alike."""
    assert shared_preference(EvenPairs(), (4, 1)) == pytest.approx(math.log(4), abs=1e-6)
    assert shared_preference(WorstMix("kl", 1.0), (4, 1)) == pytest.approx(0.0, abs=1e-6)
    assert 0.1 < shared_preference(WorstMix("kl", 0.05), (4, 1)) < math.log(4) - 0.1


@pytest.mark.parametrize("temperature", [-2.0, -4.0, 1.0, 3.0])
def test_a_tilt_divides_the_log_odds_of_wrong_labels(temperature):
    """If the fifth pair is a wrong label: it rests at log 4 / (1 + 1 / temperature), further out for easy pairs."""
    found = shared_preference(Tilt(temperature), (4, 1))
    assert found == pytest.approx(math.log(4) / (1 + 1 / temperature), abs=1e-6)


def test_settings_that_mean_nothing_are_refused():
    for make, what in (
        (lambda: WorstMix("tv", 1.5), "tv: at most 1"),
        (lambda: WorstMix("kl", -0.1), "at least 0"),
        (lambda: WorstShare(0.0), r"\(0, 1\]"),
        (lambda: Tilt(0.0), "plain mean"),
    ):
        with pytest.raises(ValueError, match=what):
            make()
