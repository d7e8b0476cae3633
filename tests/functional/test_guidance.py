"""Value guidance against enumeration: the guided joint is pi_ref exp(R / eta) / Z, and the limits hold."""

import math

import pytest
import torch

from critica.functional.categorical import atom_grid, cross_entropy, two_hot
from critica.functional.guidance import (
    categorical_tilt,
    coin_tilt,
    gaussian_tilt,
    guidance_kl,
    guided_logits,
    guided_logprobs,
    quantile_tilt,
    soft_value,
    switch_of,
    switch_time,
)

INF = float("inf")


@pytest.fixture
def tree():
    """Two levels of 4 tokens: log pi_ref of the first, log pi_ref of the second after each, and rewards in [-1, 2]."""
    dice = torch.Generator().manual_seed(5)
    first = torch.randn(4, generator=dice, dtype=torch.float64).log_softmax(-1)
    second = (2 * torch.randn(4, 4, generator=dice, dtype=torch.float64)).log_softmax(-1)
    rewards = 3 * torch.rand(4, 4, generator=dice, dtype=torch.float64) - 1
    return first, second, rewards


def guided_joint(first, second, rewards, eta):
    tilts = torch.stack([categorical_tilt(second[a], rewards[a], eta) for a in range(4)])  # Z(root, a): law of rewards
    top = guided_logprobs(first, tilts)
    below = guided_logprobs(second, rewards / eta)  # Z(a, b) is the point mass at R(a, b)
    return top[:, None] + below


@pytest.mark.parametrize("eta", [0.02, 0.1, 1.0, 30.0])
def test_the_guided_joint_is_the_reference_times_exp_of_reward(tree, eta):
    first, second, rewards = tree
    joint = first[:, None] + second
    wanted = (joint + rewards / eta).flatten().log_softmax(-1).view(4, 4)
    made = guided_joint(first, second, rewards, eta)
    assert torch.allclose(made.exp(), wanted.exp(), atol=1e-10, rtol=0)
    assert torch.allclose(made, wanted, atol=1e-9, rtol=0)


def test_the_guided_joint_beats_every_neighbor_in_regularized_reward(tree):
    first, second, rewards = tree
    joint = (first[:, None] + second).flatten()

    def worth(law):
        return (law.exp() * (rewards.flatten() - 0.3 * (law - joint))).sum()

    best = guided_joint(first, second, rewards, 0.3).flatten()
    dice = torch.Generator().manual_seed(1)
    for _ in range(20):
        other = (best + 0.1 * torch.randn(16, generator=dice, dtype=torch.float64)).log_softmax(-1)
        assert worth(other) < worth(best)


def test_infinite_eta_is_the_reference_bit_for_bit_and_a_vanishing_one_takes_the_best(tree):
    _, second, rewards = tree
    logits = second[0].float()[None]
    ids = logits.topk(3, -1).indices
    laws = torch.randn(1, 3, 5)
    none = categorical_tilt(laws, torch.linspace(-1, 1, 5), INF)
    assert torch.equal(none, torch.zeros(1, 3))
    assert torch.equal(guided_logits(logits, ids, none, 1.0, True), logits)
    assert torch.equal(quantile_tilt(laws, INF), torch.zeros(1, 3))
    assert torch.equal(coin_tilt(torch.rand(7), -1.0, 2.0, INF), torch.zeros(7))
    sharp = guided_joint(*tree, 1e-3).exp()
    assert sharp.argmax() == rewards.argmax() and sharp.max() > 0.999


def test_equal_prospects_change_nothing_bit_for_bit():
    logits = torch.randn(3, 9)
    ids = logits.topk(4, -1).indices
    for p in (0.0, 0.3, 1.0):
        tilts = coin_tilt(torch.full((3, 4), p), 0.0, 1.0, 0.1)
        assert torch.equal(guided_logits(logits, ids, tilts, 1.0, True), logits)


@pytest.mark.parametrize("eta", [0.05, 0.5, 5.0])
def test_the_soft_value_is_at_least_the_mean_and_nears_it_as_eta_grows(eta):
    dice = torch.Generator().manual_seed(2)
    logits, atoms = torch.randn(50, 6, generator=dice).double(), torch.linspace(-2, 1, 6).double()
    mean = logits.softmax(-1) @ atoms
    soft = soft_value(categorical_tilt(logits, atoms, eta), eta)
    assert (soft > mean).all()
    assert (soft <= 1.0).all()
    far = soft_value(categorical_tilt(logits, atoms, 1e6), 1e6)
    assert torch.allclose(far, mean, atol=1e-5)


def test_a_coin_by_hand_and_as_two_atoms():
    p = torch.tensor([0.2, 0.7], dtype=torch.float64)
    by_hand = torch.tensor([math.log(0.8 + 0.2 * math.e**2), math.log(0.3 + 0.7 * math.e**2)], dtype=torch.float64)
    assert torch.allclose(coin_tilt(p, 0.0, 1.0, 0.5), by_hand)
    two_atoms = torch.stack((torch.zeros(2, dtype=torch.float64), p.logit()), -1)
    assert torch.allclose(categorical_tilt(two_atoms, torch.tensor([0.0, 1.0]), 0.5), by_hand)


def test_other_laws_by_hand():
    assert quantile_tilt(torch.tensor([[0.0, 1.0, 1.0, 2.0]]), 1.0).item() == pytest.approx(
        math.log((1 + 2 * math.e + math.e**2) / 4)
    )
    assert gaussian_tilt(torch.tensor([0.5]), torch.tensor([0.2]), 0.1).item() == pytest.approx(5 + 0.04 / 0.02)


def test_small_etas_do_not_overflow():
    """exp(1 / 0.01) is 2.7e43, beyond fp32: the naive formula is infinite for every p above 0, and so tells nothing."""
    p = torch.tensor([0.0, 1e-6, 0.5, 1.0])
    naive = torch.log(1 - p + p * torch.tensor(1 / 0.01).exp())
    assert naive[1:].isinf().all()
    tilt = coin_tilt(p, 0.0, 1.0, 0.01)
    wanted = torch.tensor([0.0, 100 + math.log(1e-6), 100 + math.log(0.5), 100.0])
    assert torch.allclose(tilt, wanted, atol=1e-4)


def test_only_differences_of_reward_matter():
    logits, ids = torch.randn(2, 8).double(), torch.tensor([[0, 3, 5], [1, 2, 7]])
    laws, atoms = torch.randn(2, 3, 4).double(), torch.tensor([0.0, 0.2, 0.7, 1.0]).double()
    for keeps in (True, False):
        here, there = (
            guided_logits(logits, ids, categorical_tilt(laws, atoms + shift, 0.1), 1.0, keeps).softmax(-1)
            for shift in (0.0, -1.0)
        )
        assert torch.allclose(here, there, atol=1e-12)


def test_a_tilt_on_candidates_alone_depends_on_where_the_reward_has_its_zero():
    """The released code's rule: tokens outside the candidates count as tokens whose Q* is 0."""
    logits, ids = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).double(), torch.tensor([[0, 1]])
    p = torch.tensor([[0.9, 0.1]]).double()

    def published(low, high):
        return logits.scatter_add(-1, ids, coin_tilt(p, low, high, 0.2)).softmax(-1)

    rest = published(0.0, 1.0)[0, 2:].sum(), published(-1.0, 0.0)[0, 2:].sum()
    assert rest[0] < 0.01 and rest[1] > 0.1
    ours = [guided_logits(logits, ids, coin_tilt(p, *r, 0.2), 1.0, True).softmax(-1) for r in ((0.0, 1.0), (-1.0, 0.0))]
    assert torch.allclose(ours[0], ours[1]) and torch.allclose(ours[0][0, 2:], logits.softmax(-1)[0, 2:])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_candidates_share_their_own_mass_anew_and_the_rest_stays_or_goes(temperature):
    logits = torch.randn(5, 12, generator=torch.Generator().manual_seed(4)).double()
    ids = logits.topk(4, -1).indices
    tilts = torch.randn(5, 4).double()
    before = (logits / temperature).softmax(-1)
    kept = (guided_logits(logits, ids, tilts, temperature, True) / temperature).softmax(-1)
    alone = (guided_logits(logits, ids, tilts, temperature, False) / temperature).softmax(-1)
    inside = torch.zeros(5, 12, dtype=torch.bool).scatter(1, ids, True)
    wanted = before.gather(1, ids) * tilts.exp()
    shares = wanted / wanted.sum(-1, keepdim=True)
    mass = before.gather(1, ids).sum(-1, keepdim=True)
    assert torch.allclose(kept[~inside], before[~inside])
    assert torch.allclose(kept.gather(1, ids), mass * shares)
    assert torch.equal(alone[~inside], torch.zeros_like(alone[~inside]))
    assert torch.allclose(alone.gather(1, ids), shares)


def test_the_divergence_is_that_of_the_laws_and_zero_mass_adds_nothing():
    before = torch.tensor([[0.5, 0.25, 0.25]]).log()
    after = torch.tensor([[0.75, 0.25, 0.0]]).log()
    wanted = 0.75 * math.log(1.5)
    assert guidance_kl(after, before, 1.0).item() == pytest.approx(wanted, rel=1e-6)
    assert guidance_kl(before, before, 1.0).item() == 0.0
    assert guidance_kl(2 * before, 2 * before.roll(1, -1), 2.0).item() == pytest.approx(
        guidance_kl(before, before.roll(1, -1), 1.0).item()
    )


def test_maximum_likelihood_of_a_coin_is_that_of_two_atoms():
    """The same loss and the same gradient, for the same share of ones: fitting either is fitting the other."""
    z = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    won = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    coin = torch.nn.functional.binary_cross_entropy_with_logits(z.expand(4), won)
    law = two_hot(won[:, None], torch.ones(4, 1, dtype=torch.float64), torch.tensor([0.0, 1.0]).double())
    atoms = cross_entropy(torch.stack((torch.zeros_like(z), z)).expand(4, 2), law).mean()
    assert coin.item() == pytest.approx(atoms.item())
    assert torch.autograd.grad(coin, z)[0].item() == pytest.approx(torch.autograd.grad(atoms, z)[0].item())


def test_a_label_index_of_reward_times_count_is_wrong_off_the_unit_interval():
    """A public re-implementation rounds R (K - 1), whatever V_min and V_max are; our coding places R on the grid."""
    atoms, rewards = atom_grid(-1.0, 1.0, 11), torch.tensor([-0.8, 0.0, 0.6])
    published = (rewards * 10).round().clamp(0, 10).long()
    ours = two_hot(rewards[:, None], torch.ones(3, 1), atoms)
    assert torch.allclose(ours @ atoms, rewards, atol=1e-6)
    assert (atoms[published] - rewards).abs().min() > 0.19
    unit = atom_grid(0.0, 1.0, 11)
    assert torch.allclose(unit[(torch.tensor([0.3, 1.0]) * 10).round().long()], torch.tensor([0.3, 1.0]))


def test_switches_are_uniform_and_named():
    counts = torch.bincount(torch.tensor([switch_of(f"{i}.0.1", 8) for i in range(4000)]), minlength=9)
    assert counts[0] == 0 and (counts[1:] - 500).abs().max() < 90
    assert switch_time(0.0, 5) == 1 and switch_time(0.999999, 5) == 5 and switch_of("1.2.3", 1) == 1


def test_a_price_that_is_none_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        coin_tilt(torch.rand(2), 0.0, 1.0, 0.0)
