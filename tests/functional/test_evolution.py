"""Evolution strategies' arithmetic: exact sums on a grid, scores that missing outcomes cannot bend, and the pulls."""

import math

import pytest
import torch

from critica.functional.evolution import (
    REACH,
    grid_step,
    member_fitness,
    noise_on_grid,
    on_grid,
    population_scores,
    shrunk,
    soft_threshold,
)


@pytest.mark.parametrize("size", [1e-6, 1e-2, 1.0, 37.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_added_on_the_grid_can_be_taken_off_to_the_bit(size, dtype):
    made = torch.Generator().manual_seed(3)
    weights = torch.randn(20_000, generator=made, dtype=dtype) * size
    step = grid_step(weights, 1e-3)
    assert math.log2(step) == int(math.log2(step))
    settled = on_grid(weights, step)
    assert torch.equal(on_grid(settled, step), settled)
    assert float((settled - weights).abs().max()) <= step / 2
    moved = settled.clone()
    for member in range(50):
        normals = torch.randn(20_000, generator=torch.Generator().manual_seed(member), dtype=dtype)
        noise = noise_on_grid(normals, 1e-3, step)
        moved.add_(noise)
        assert not torch.equal(moved, settled)
        moved.sub_(noise)
    assert torch.equal(moved, settled)


def test_without_a_grid_adding_and_taking_off_drifts():
    weights = torch.randn(20_000, generator=torch.Generator().manual_seed(3))
    noise = 1e-3 * torch.randn(20_000, generator=torch.Generator().manual_seed(4))
    assert not torch.equal((weights + noise) - noise, weights)


def test_the_grid_holds_the_largest_weight_and_the_farthest_noise():
    weights = torch.tensor([0.999, -0.5])
    step = grid_step(weights, 1e-3)
    assert step == 2.0**-23  # bound 1.007: the next power of two is 2, and 24 bits hold 2 / 2^-23
    assert (0.999 + REACH * 1e-3) / step <= 2**24
    noise = noise_on_grid(torch.tensor([100.0, -100.0, 0.0]), 1e-3, step)
    assert noise.tolist() == pytest.approx([8e-3, -8e-3, 0.0], abs=step)


def test_fitness_is_the_mean_return_where_every_answer_is_known():
    returns = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])  # two prompts, three members
    prompts, members = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 0, 1, 2])
    fitness, heard = member_fitness(returns, torch.ones(6, dtype=torch.bool), prompts, members, 3)
    plain = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)
    assert heard.all()
    torch.testing.assert_close(fitness, plain - plain.mean())
    torch.testing.assert_close(population_scores(fitness, heard), population_scores(plain, heard))


def test_a_member_spared_the_hard_prompt_is_no_better_for_it():
    """Prompt 0 is solved by all, prompt 1 by none; member 2's answer to prompt 1 is unknown, member 3 is unheard."""
    returns = torch.tensor([1.0, 1.0, 1.0, torch.nan, 0.0, 0.0, torch.nan, torch.nan])
    known = ~returns.isnan()
    prompts, members = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    fitness, heard = member_fitness(returns, known, prompts, members, 4)
    assert heard.tolist() == [True, True, True, False]
    assert fitness.tolist() == [0.0, 0.0, 0.0, 0.0]
    assert population_scores(fitness, heard).tolist() == [0.0] * 4


def test_scores_are_standardized_over_those_who_were_heard():
    fitness = torch.tensor([1.0, 2.0, 6.0, 99.0], dtype=torch.float64)
    heard = torch.tensor([True, True, True, False])
    spread = math.sqrt((4 + 1 + 9) / 2) + 1e-6
    assert population_scores(fitness, heard).tolist() == pytest.approx([-2 / spread, -1 / spread, 3 / spread, 0.0])
    alone = torch.tensor([True, False, False, False])
    assert population_scores(fitness, alone).tolist() == [0.0] * 4


def test_the_pulls():
    offset = torch.tensor([0.5, -0.2, 0.04])
    assert shrunk(offset, 0.1).tolist() == pytest.approx([0.45, -0.18, 0.036])
    assert soft_threshold(offset, 0.05).tolist() == pytest.approx([0.45, -0.15, 0.0])
