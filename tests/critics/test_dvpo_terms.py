"""DVPO's switches inside the critic: a term is there when it is on, gone when off, and pulls as it promises."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.quantile import NO_TAIL, AsymmetricTail, Conservatism, QuantileCritic
from critica.critics.targets import LambdaMixture, QuantileLambda
from critica.functional.quantiles import midpoint_levels, quantile_huber
from critica.functional.tails import optimism
from critica.records.arrays import Samples
from critica.records.evidence import Evidence, HiddenStates
from fakes import BigramPolicy

BATCH = token_batch(["csss", "css."], [0, 0])
TOLD = told_batch(BATCH, [1.0, 0.0])
STATES = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
EVIDENCE = Evidence(HiddenStates(STATES, torch.zeros(2, 4)))
PLAIN = QuantileCritic(2, 12, 6, mean=0.0, consistency=0.0, tail=NO_TAIL, body=SharedTrunk())


def live(part):
    """A critic whose heads are no longer at their zero start; the same weights for every part of the same sizes."""
    critic = part.build(CriticContext(BigramPolicy(width=4, dtype=torch.float32), 3, 0.0, 1.0))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for _, weight in critic.trainable():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return critic


def terms(part, target=LambdaMixture(1.0, 0.8)):  # noqa: B008
    critic = live(part)
    values = critic.predict(BATCH, TOLD, EVIDENCE)
    targets = target.build(BATCH, TOLD, values)
    return {term.name: term for term in critic.loss(STATES, BATCH, targets, values)}, critic, targets


@pytest.mark.parametrize("name", ["calibration", "gain", "shift", "shape", "curvature"])
def test_each_tail_term_alone_is_the_whole_tail_loss(name):
    tail = replace(NO_TAIL, lower=0.25, upper=0.25, **{name: 0.5})
    found, critic, targets = terms(replace(PLAIN, tail=tail))
    assert set(found) == {"value", "value_tail"}
    quantiles = critic.head(STATES).mean(1)
    ordered = targets.values[targets.mask].sort(-1).values
    torch.testing.assert_close(found["value_tail"].values[targets.mask], tail.penalty(quantiles, ordered))
    twice, _, _ = terms(replace(PLAIN, tail=replace(tail, **{name: 1.0})))
    torch.testing.assert_close(twice["value_tail"].values, 2 * found["value_tail"].values)


def test_everything_off_is_the_quantile_loss_alone():
    found, _, _ = terms(PLAIN)
    assert set(found) == {"value"}


def test_tail_terms_read_any_number_of_target_samples():
    """64 samples of the target law, or as many as the critic has quantiles: nearly the same tails."""
    part = replace(PLAIN, tail=AsymmetricTail(0.25, 0.25))
    few, _, _ = terms(part, LambdaMixture(1.0, 0.8))
    many, _, _ = terms(part, LambdaMixture(1.0, 0.8, 64))
    torch.testing.assert_close(many["value_tail"].values, few["value_tail"].values, atol=0.03, rtol=0)
    critic = live(part)
    values = critic.predict(BATCH, TOLD, EVIDENCE)
    law = QuantileLambda(1.0, 0.8).build(BATCH, TOLD, values)
    doubled = Samples(law.values.repeat(1, 1, 2), law.weights.repeat(1, 1, 2) / 2, law.mask)
    once = {term.name: term.values for term in critic.loss(STATES, BATCH, law, values)}
    again = {term.name: term.values for term in critic.loss(STATES, BATCH, doubled, values)}
    torch.testing.assert_close(again["value_tail"], once["value_tail"])


def test_risk_weights_are_on_the_loss_of_each_quantile_and_point_both_ways():
    """Eq. 4 unreduced, mean weight one. The circulating code scales a number already reduced, which weights nothing."""
    plain, critic, targets = terms(PLAIN)
    low, _, _ = terms(replace(PLAIN, tail=replace(NO_TAIL, risk=2.0)))
    levels = midpoint_levels(12)
    each = quantile_huber(
        critic.head(STATES), levels, targets.values[targets.mask][:, None], targets.weights[targets.mask][:, None],
        PLAIN.huber or None,
    )  # fmt: skip
    weights = torch.exp(-2 * levels) / torch.exp(-2 * levels).mean()
    torch.testing.assert_close(low["value"].values[targets.mask], (each * weights).mean((1, 2)))
    scaled = plain["value"].values[targets.mask] * weights.mean()
    assert float((low["value"].values[targets.mask] - scaled).detach().abs().max()) > 1e-3
    high = AsymmetricTail(risk=-2.0).weights(levels)
    torch.testing.assert_close(high, weights.flip(0))
    assert not replace(NO_TAIL, risk=2.0).active  # weights need no law to compare with


def test_optimism_by_hand_and_at_its_limits():
    quantiles = torch.tensor([[[0.0, 0.5], [0.5, 1.0]]])
    target = torch.tensor([0.25])
    assert float(optimism(quantiles, target, 1e-3)) == pytest.approx(0.75, abs=2e-3)  # the largest of all
    assert float(optimism(quantiles, target, 1e3)) == pytest.approx(0.25, abs=1e-3)  # the mean
    assert float(optimism(quantiles, target + 1, 0.1)) == 0.0
    certain = torch.full((1, 2, 3), 0.4)
    assert float(optimism(certain, torch.tensor([0.4]), 0.1)) == pytest.approx(0.0, abs=1e-6)


def test_optimism_pushes_the_upper_quantiles_and_the_boastful_head_down_most():
    quantiles = torch.tensor([[[0.0, 0.5], [0.2, 0.9]]], requires_grad=True)
    optimism(quantiles, torch.zeros(1), 0.2).sum().backward()
    assert float(quantiles.grad.min()) > 0 and float(quantiles.grad.sum()) == pytest.approx(1.0)
    flat = quantiles.grad.flatten().tolist()
    assert sorted(flat) == [flat[0], flat[2], flat[1], flat[3]]


def coin(part, outcomes, steps=500):
    """The mean that a critic learns of one state that was told these outcomes."""
    batch = token_batch(["cs"] * len(outcomes), list(range(len(outcomes))))
    told = told_batch(batch, outcomes)
    states = torch.ones(len(outcomes), 4)
    evidence = Evidence(HiddenStates(states, torch.zeros(len(outcomes), 4)))
    critic = part.build(CriticContext(BigramPolicy(width=4, dtype=torch.float32), 3, 0.0, 1.0))
    adam = torch.optim.Adam([weight for _, weight in critic.trainable()], lr=0.02)
    for _ in range(steps):
        values = critic.predict(batch, told, evidence)
        targets = LambdaMixture(1.0, 1.0).build(batch, told, values)
        loss = sum(t.weight * t.values[t.mask].mean() for t in critic.loss(states, batch, targets, values))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return float(critic.predict(batch, told, evidence).mean[0, 1])


def test_conservatism_lowers_what_is_uncertain_and_leaves_what_is_certain():
    part = QuantileCritic(2, 8, 8, huber=0.02, tail=NO_TAIL, body=SharedTrunk())
    careful = replace(part, conservatism=Conservatism(0.3, 0.1))
    toss = [1.0] * 10 + [0.0] * 10
    assert coin(part, toss) == pytest.approx(0.5, abs=0.03)
    assert 0.1 < coin(careful, toss) < 0.42
    assert coin(careful, [1.0] * 20) == pytest.approx(1.0, abs=0.03)
    with pytest.raises(ValueError, match="0 is off"):
        Conservatism(-1.0)
