"""Laws on a grid: codings by hand, what they keep, what they turn into at their limits, and the recursion of laws."""

import math

import pytest
import torch

from critica.functional.categorical import atom_grid, categorical_quantiles, cross_entropy, hl_gauss, two_hot
from critica.functional.gae import gae
from critica.functional.mixture import lambda_mixture_categorical
from critica.functional.returns import discounted_returns

ONE = torch.ones(1, 1, dtype=torch.float64)


def fine_grid(low, high, count):
    """`atom_grid` in fp64."""
    return torch.linspace(low, high, count, dtype=torch.float64)


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_two_hot_by_hand():
    atoms = atom_grid(0.0, 1.0, 5)
    law = two_hot(torch.tensor([[0.3], [0.5], [1.0], [-2.0]]), torch.ones(4, 1), atoms)
    expected = torch.tensor([[0, 0.8, 0.2, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0.0]])
    torch.testing.assert_close(law, expected)


def test_two_hot_keeps_every_mean_and_widens_by_at_most_a_quarter_square_spacing():
    atoms = fine_grid(-1.0, 3.0, 9)
    values, weights = -1 + 4 * drawn(50, 7), drawn(50, 7, seed=1)
    weights = weights / weights.sum(-1, keepdim=True)
    law = two_hot(values, weights, atoms)
    torch.testing.assert_close(law.sum(-1), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(law @ atoms, (values * weights).sum(-1))
    second = (law @ atoms.square()) - (weights * values.square()).sum(-1)
    assert float(second.min()) >= -1e-12 and float(second.max()) <= 0.5**2 / 4 + 1e-12
    assert float(second.max()) > 0.02


def test_projecting_a_law_is_c51_by_hand():
    """r + discount a = .1 + .9 (0, .5, 1) = (.1, .55, 1): shared between neighbors, weights (.2, .3, .5)."""
    atoms = atom_grid(0.0, 1.0, 3)
    law = two_hot((0.1 + 0.9 * atoms)[None], torch.tensor([[0.2, 0.3, 0.5]]), atoms)
    torch.testing.assert_close(law, torch.tensor([[0.16, 0.04 + 0.27, 0.03 + 0.5]]))


def test_hl_gauss_by_hand():
    atoms = atom_grid(0.0, 1.0, 3)
    law = hl_gauss(torch.tensor([[0.5]]), torch.ones(1, 1), atoms, 0.375)[0]

    def phi(x):
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    inner, whole = phi(0.25 / 0.375) - phi(-0.25 / 0.375), phi(2.0) - phi(-2.0)
    expected = [(1 - inner / whole) / 2, inner / whole, (1 - inner / whole) / 2]
    torch.testing.assert_close(law, torch.tensor(expected))


def test_hl_gauss_of_a_small_sigma_is_the_nearest_atom_and_two_hot_on_atoms():
    atoms = fine_grid(0.0, 1.0, 11)
    values = torch.tensor([[0.34], [0.36], [0.0], [1.0], [0.7]], dtype=torch.float64)
    law = hl_gauss(values, torch.ones_like(values), atoms, 1e-4)
    assert law.argmax(-1).tolist() == [3, 4, 0, 10, 7] and float(law.max(-1).values.min()) > 1 - 1e-9
    grid = atoms[:, None]
    torch.testing.assert_close(
        hl_gauss(grid, torch.ones_like(grid), atoms, 1e-4), two_hot(grid, torch.ones_like(grid), atoms)
    )


def test_hl_gauss_keeps_the_mean_inside_and_pulls_it_in_at_the_ends():
    atoms = fine_grid(0.0, 1.0, 51)
    inside = torch.linspace(0.1, 0.9, 33, dtype=torch.float64)[:, None]
    law = hl_gauss(inside, torch.ones_like(inside), atoms, 0.015)
    torch.testing.assert_close(law @ atoms, inside[:, 0], atol=1e-4, rtol=0)
    ends = hl_gauss(torch.tensor([[0.0], [1.0]]).double(), torch.ones(2, 1).double(), atoms, 0.015) @ atoms
    assert 0.002 < float(ends[0]) < 0.01 and float(ends[0] + ends[1]) == pytest.approx(1.0)


def test_two_atoms_are_a_coin():
    atoms, logits = fine_grid(0.0, 1.0, 2), torch.randn(9, 2, dtype=torch.float64)
    outcome = drawn(9, 1).round()
    loss = cross_entropy(logits, two_hot(outcome, torch.ones_like(outcome), atoms))
    coin = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:, 1] - logits[:, 0], outcome[:, 0], reduction="none"
    )
    torch.testing.assert_close(loss, coin)


def test_quantiles_of_atoms():
    atoms = torch.tensor([0.0, 0.5, 1.0])
    probs = torch.tensor([[0.25, 0.25, 0.5], [0.0, 1.0, 0.0]])
    read = categorical_quantiles(atoms, probs, torch.tensor([0.1, 0.25, 0.3, 0.5, 0.51, 0.99]))
    torch.testing.assert_close(read, torch.tensor([[0.0, 0, 0.5, 0.5, 1, 1], [0.5] * 6]))


def case(seed=0, atoms=21):
    """Two rows of unlike length with context in between, terminal rewards on atoms, random laws."""
    mask = torch.tensor([[0, 1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]]).bool()
    probs = drawn(2, 7, atoms, seed=seed)
    rewards = torch.zeros(2, 7, dtype=torch.float64)
    rewards[0, 6], rewards[1, 3] = 1.0, 0.25
    return rewards, probs / probs.sum(-1, keepdim=True), fine_grid(0.0, 1.0, atoms), mask


@pytest.mark.parametrize("decay", [0.0, 0.6, 1.0])
def test_recursion_of_laws_is_the_enumerated_mixture(decay):
    rewards, probs, atoms, mask = case()
    law = lambda_mixture_categorical(rewards, probs, atoms, mask, 1.0, decay)
    assert bool((law[~mask] == 0).all())
    for row in range(2):
        places = mask[row].nonzero().squeeze(-1).tolist()
        for start, t in enumerate(places):
            later = places[start + 1 :]
            expected = decay ** len(later) * two_hot(rewards[row, places[-1:]][None], ONE, atoms)[0]
            for k, place in enumerate(later):
                expected = expected + (1 - decay) * decay**k * probs[row, place]
            torch.testing.assert_close(law[row, t], expected)


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_recursion_of_laws_has_the_mean_of_the_lambda_return(discount):
    rewards, probs, atoms, mask = case(3)
    rewards[0, 2] = 0.125
    probs[..., 12:] = 0.0  # so that no sum of rewards leaves the grid
    probs = probs / probs.sum(-1, keepdim=True)
    rewards[0, 6] = 0.5
    law = lambda_mixture_categorical(rewards, probs, atoms, mask, discount, 0.7)
    values = (probs @ atoms).where(mask, 0.0)
    node = torch.where(mask, mask.cumsum(-1) - 1, -1)
    plain = gae(rewards, values, torch.zeros(2).double(), node, mask, discount, 0.7) + values
    torch.testing.assert_close(law @ atoms, plain)
    certain = lambda_mixture_categorical(rewards, probs, atoms, mask, discount, 1.0) @ atoms
    torch.testing.assert_close(certain, discounted_returns(rewards, mask, discount, torch.zeros(2).double()))
