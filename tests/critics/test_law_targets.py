"""Targets that are laws, or that a law was read for: by hand, by enumeration, and what cannot be taught what."""

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.risk import Cvar, MinusSpread, WorstHead
from critica.critics.bounded import BoundedCritic
from critica.critics.categorical import CategoricalCritic
from critica.critics.ensemble import Ensemble
from critica.critics.gaussian import GaussianCritic
from critica.critics.lagged import Lagged
from critica.critics.quantile import NO_TAIL, QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import (
    CategoricalLambda,
    GroupQuantiles,
    LambdaMixture,
    LambdaReturn,
    MonteCarlo,
    QuantileLambda,
)
from critica.functional.quantiles import midpoint_levels, wasserstein1
from critica.records.arrays import Categorical, Gaussian, Quantiles, ValuePrediction


def predicted(batch, heads=2, count=5, seed=0):
    """A random quantile prediction in [0, 1]."""
    drawn = torch.rand(*batch.token_ids.shape, heads, count, generator=torch.Generator().manual_seed(seed))
    values = drawn.sort(-1).values * batch.sampled_mask[..., None, None]
    law = Quantiles(midpoint_levels(count), values)
    return ValuePrediction(values.mean((2, 3)), batch.sampled_mask, torch.zeros(batch.rows), law)


def test_robust_bellman_by_hand():
    """One step: discount times the worst head's mean at the next token; the outcome at the last."""
    batch = token_batch(["csss"], [0])
    told = told_batch(batch, [1.0])
    heads = torch.tensor([[[0, 0], [0.4, 0.6], [0.7, 0.2], [0.9, 0.3]]])[..., None]
    values = ValuePrediction(
        heads.mean((2, 3)), batch.sampled_mask, torch.zeros(1), Quantiles(torch.tensor([0.5]), heads)
    )
    robust = LambdaReturn(0.9, 0.0, WorstHead()).build(batch, told, values)
    torch.testing.assert_close(robust.values, torch.tensor([[0.0, 0.9 * 0.2, 0.9 * 0.3, 1.0]]))
    plain = LambdaReturn(0.9, 0.0).build(batch, told, values)
    torch.testing.assert_close(plain.values, torch.tensor([[0.0, 0.9 * 0.45, 0.9 * 0.6, 1.0]]))
    hand = LambdaReturn(0.9, 0.5, WorstHead()).build(batch, told, values).values[0, 1:].tolist()
    second = 0.9 * (0.5 * 0.3 + 0.5 * 1.0)
    assert hand == pytest.approx([0.9 * (0.5 * 0.2 + 0.5 * second), second, 1.0])


def test_the_lowest_quantile_is_a_tail_of_one():
    batch = token_batch(["csss", "css"], [0, 0])
    told, values = told_batch(batch, [1.0, 0.0]), predicted(batch)
    lowest = values.law.values.mean(2)[..., 0]
    torch.testing.assert_close(Cvar(1 / 5).before(values), lowest)
    built = LambdaReturn(1.0, 0.0, Cvar(1 / 5)).build(batch, told, values)
    torch.testing.assert_close(built.values[0, 1:3], lowest[0, 2:4])


def test_stac_by_hand():
    batch = token_batch(["css"], [0])
    told = told_batch(batch, [0.25])
    mean, spread = torch.tensor([[0.0, 0.3, 0.8]]), torch.tensor([[0.0, 0.5, 0.4]])
    values = ValuePrediction(mean, batch.sampled_mask, torch.zeros(1), Gaussian(spread))
    built = LambdaReturn(1.0, 0.0, MinusSpread(0.5)).build(batch, told, values)
    torch.testing.assert_close(built.values, torch.tensor([[0.0, 0.6, 0.25]]))


def test_a_risk_at_decay_one_changes_no_target_and_is_refused():
    batch = token_batch(["csss", "css"], [0, 0])
    told, values = told_batch(batch, [1.0, 0.5]), predicted(batch)
    built = LambdaReturn(1.0, 1.0, WorstHead()).build(batch, told, values)
    torch.testing.assert_close(built.values, MonteCarlo().build(batch, told, values).values)
    with pytest.raises(ValueError, match=r"set target\.decay=0\.95"):
        LambdaReturn(1.0, 1.0, WorstHead()).check(QuantileCritic(tail=NO_TAIL))


@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_sixty_four_samples_stand_for_the_enumerated_mixture(decay):
    """W1 to all (horizon, quantile) atoms with their weights; 64 exact samples would leave about .5 / 64 of range."""
    length, count = 12, 20
    batch = token_batch(["c" + "s" * length], [0])
    told, values = told_batch(batch, [1.0]), predicted(batch, 1, count, 5)
    law = LambdaMixture(1.0, decay, 64).build(batch, told, values)
    assert law.values.shape[-1] == 64
    quantiles = values.law.values[0, 1:, 0]
    for t in (0, 4, length - 2, length - 1):
        later = range(1, length - t)
        atoms = [quantiles[t + k] for k in later] + [torch.ones(count)]
        weights = [(1 - decay) * decay ** (k - 1) for k in later] + [decay ** (length - t - 1)]
        every = torch.tensor(weights).repeat_interleave(count) / count
        gap = wasserstein1(law.values[0, 1 + t], torch.cat(atoms), None, every)
        assert float(gap) < 0.03, (t, float(gap))
        mean = float((torch.cat(atoms) * every).sum())
        assert float(law.values[0, 1 + t].mean()) == pytest.approx(mean, abs=0.02)


def test_samples_default_to_the_critics_quantiles_and_to_sixty_four_without():
    batch = token_batch(["css"], [0])
    told = told_batch(batch, [1.0])
    assert LambdaMixture(1.0, 0.9).build(batch, told, predicted(batch)).values.shape[-1] == 5
    gaussian = ValuePrediction(
        batch.sampled_mask * 0.5, batch.sampled_mask, torch.zeros(1), Gaussian(batch.sampled_mask * 0.1)
    )
    drawn = LambdaMixture(1.0, 0.0).build(batch, told, gaussian).values
    assert drawn.shape[-1] == 64
    assert float(drawn[0, 1].mean()) == pytest.approx(0.5, abs=1e-4)
    assert float(drawn[0, 1].std()) == pytest.approx(0.1, abs=0.004)


def test_group_quantiles_by_hand():
    batch = token_batch(["css", "cs", "cs", "cs"], [0, 0, 0, 1])
    told, values = told_batch(batch, [1.0, 0.0, None, 1.0]), predicted(batch)
    law = GroupQuantiles(samples=2).build(batch, told, values)
    assert torch.equal(law.mask[:, 1], torch.tensor([True, True, False, False]))
    torch.testing.assert_close(law.values[0, 1:], torch.zeros(2, 2))  # the sibling failed, its own success unseen
    torch.testing.assert_close(law.values[1, 1], torch.ones(2))
    own = GroupQuantiles(leave_one_out=False, samples=2).build(batch, told, values)
    torch.testing.assert_close(own.values[0, 1], torch.tensor([0.0, 1.0]))
    assert torch.equal(own.mask[:, 1], torch.tensor([True, True, False, True]))
    assert GroupQuantiles().build(batch, told, values).values.shape[-1] == 5


def test_categorical_lambda_is_coded_outcome_at_decay_one():
    batch = token_batch(["csss", "css"], [0, 0])
    told = told_batch(batch, [1.0, 0.5])
    atoms = torch.linspace(0, 1, 3)
    probs = torch.full((2, 4, 2, 3), 1 / 3) * batch.sampled_mask[..., None, None]
    values = ValuePrediction(batch.sampled_mask * 0.5, batch.sampled_mask, torch.zeros(2), Categorical(atoms, probs))
    law = CategoricalLambda(1.0, 1.0).build(batch, told, values)
    torch.testing.assert_close(law.weights[0, 1:], torch.tensor([[0.0, 0, 1]] * 3))
    torch.testing.assert_close(law.weights[1, 1:3], torch.tensor([[0.0, 1, 0]] * 2))
    half = CategoricalLambda(1.0, 0.5).build(batch, told, values)
    torch.testing.assert_close(half.weights[0, 2], torch.tensor([1 / 6, 1 / 6, 2 / 3]))


@pytest.mark.parametrize(
    ("target", "critic", "way"),
    [
        (QuantileLambda(), CategoricalCritic(), "target=lambda_mixture"),
        (QuantileLambda(), GaussianCritic(), "target=lambda_mixture"),
        (QuantileLambda(), Ensemble(ScalarCritic()), "target=lambda_return"),
        (CategoricalLambda(), QuantileCritic(), "set critic=categorical"),
        (CategoricalLambda(), Lagged(GaussianCritic()), "set critic=categorical"),
        (LambdaMixture(), BoundedCritic(), "target=lambda_return"),
        (MonteCarlo(), Ensemble(QuantileCritic()), "target=lambda_mixture"),
        (LambdaReturn(1.0, 0.5, Cvar(0.5)), ScalarCritic(), "critic=quantile"),
    ],
)
def test_what_cannot_be_taught_is_refused_with_the_way_out(target, critic, way):
    with pytest.raises(ValueError, match=way):
        target.check(critic)


def test_what_can_be_taught_is_not_refused():
    for target, critic in (
        (GroupQuantiles(), QuantileCritic()),
        (CategoricalLambda(), Ensemble(Lagged(CategoricalCritic()))),
        (LambdaMixture(), GaussianCritic()),
        (LambdaReturn(1.0, 0.5, WorstHead()), Lagged(Ensemble(ScalarCritic()))),
        (QuantileLambda(), Lagged(QuantileCritic())),
    ):
        target.check(critic)
