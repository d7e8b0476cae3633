"""The sampled mixture of lambda-returns against its full enumeration."""

import pytest
import torch

from critica.functional.mixture import coprime_permutation, lambda_mixture_samples, stratified_horizons


def enumerate_mixture(rewards, quantiles, discount, decay, t):
    """Every (value, weight) atom of the lambda-return's law at step t of one dense trajectory."""
    length, count = quantiles.shape
    atoms = []
    for k in range(1, length - t + 1):
        gained = sum(discount**j * rewards[t + j] for j in range(k))
        last = k == length - t
        weight = decay ** (k - 1) if last else (1 - decay) * decay ** (k - 1)
        for q in range(count):
            future = 0.0 if last else discount**k * quantiles[t + k, q]
            atoms.append((float(gained + future), float(weight) / count))
    return atoms


@pytest.mark.parametrize("discount", [1.0, 0.9])
@pytest.mark.parametrize("decay", [0.3, 0.8, 0.95])
def test_samples_match_the_enumerated_law(discount, decay):
    generator = torch.Generator().manual_seed(3)
    length, count, samples = 12, 16, 512
    rewards = torch.rand(1, length, generator=generator, dtype=torch.float64)
    quantiles = torch.rand(1, length, count, generator=generator, dtype=torch.float64).sort(-1).values
    mask = torch.ones(1, length, dtype=torch.bool)
    drawn = lambda_mixture_samples(rewards, quantiles, mask, discount, decay, samples)
    for t in (0, 5, length - 2, length - 1):
        atoms = enumerate_mixture(rewards[0], quantiles[0], discount, decay, t)
        mean = sum(v * w for v, w in atoms)
        spread = sum(w * (v - mean) ** 2 for v, w in atoms) ** 0.5
        assert sum(w for _, w in atoms) == pytest.approx(1.0)
        assert float(drawn[0, t].mean()) == pytest.approx(mean, abs=0.02)
        assert float(drawn[0, t].std()) == pytest.approx(spread, abs=0.03)
        below = sum(w for v, w in atoms if v <= mean + 1e-9)
        assert float((drawn[0, t] <= mean + 1e-9).double().mean()) == pytest.approx(below, abs=0.03)


def test_decay_one_is_the_return_and_decay_zero_is_one_step():
    rewards = torch.tensor([[0.0, 0.5, 0.0, 1.0]])
    quantiles = torch.arange(8.0).view(1, 4, 2)
    mask = torch.ones(1, 4, dtype=torch.bool)
    returns = lambda_mixture_samples(rewards, quantiles, mask, 1.0, 1.0, 4)
    assert torch.equal(returns[0, :, 0], torch.tensor([1.5, 1.5, 1.0, 1.0]))
    assert torch.equal(returns.amin(-1), returns.amax(-1))
    step = lambda_mixture_samples(rewards, quantiles, mask, 1.0, 0.0, 2)
    assert torch.equal(step[0].sort(-1).values, torch.tensor([[2.0, 3.0], [4.5, 5.5], [6.0, 7.0], [1.0, 1.0]]))


def test_context_gaps_and_padding_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    dense_rewards, dense = torch.zeros(1, 5), torch.rand(1, 5, 4, generator=generator)
    dense_rewards[0, 4] = 1.0
    expected = lambda_mixture_samples(dense_rewards, dense, torch.ones(1, 5, dtype=torch.bool), 1.0, 0.7, 8)
    places = torch.tensor([1, 2, 5, 6, 8])
    mask = torch.zeros(1, 10, dtype=torch.bool)
    mask[0, places] = True
    rewards, quantiles = torch.zeros(1, 10), torch.rand(1, 10, 4, generator=generator)
    rewards[0, places], quantiles[0, places] = dense_rewards[0], dense[0]
    spread = lambda_mixture_samples(rewards, quantiles, mask, 1.0, 0.7, 8)
    assert torch.equal(spread[0, places], expected[0])
    assert bool((spread[~mask] == 0).all())


def test_horizons_follow_the_geometric_law():
    horizons = stratified_horizons(0.75, 4000)
    for k in (1, 2, 3, 7):
        assert float((horizons == k).double().mean()) == pytest.approx(0.25 * 0.75 ** (k - 1), abs=1e-3)
    assert sorted(coprime_permutation(30).tolist()) == list(range(30))


def test_a_discount_of_zero_or_a_long_answer_does_not_divide_by_nothing():
    rewards = torch.zeros(1, 3000)
    rewards[0, -1] = 1.0
    quantiles = torch.full((1, 3000, 2), 0.5)
    mask = torch.ones(1, 3000, dtype=torch.bool)
    for discount in (0.0, 0.9):
        drawn = lambda_mixture_samples(rewards, quantiles, mask, discount, 0.9, 4)
        assert bool(drawn.isfinite().all())
        assert bool((drawn[0, -1] == 1.0).all())
    late = lambda_mixture_samples(rewards, quantiles * 0, mask, 0.99, 1.0, 2)
    torch.testing.assert_close(late[0, -11, 0], torch.tensor(0.99**10))
