"""The quantile critic against known return laws, and each DVPO term's direction."""

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.learned import CriticStartError
from critica.critics.quantile import NO_TAIL, AsymmetricTail, QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaMixture, LambdaReturn, MonteCarlo, QuantileLambda
from critica.records.arrays import Quantiles, Samples, Scalar
from critica.records.evidence import Evidence, HiddenStates
from fakes import BigramPolicy

BATCH = token_batch(["css", "css."], [0, 0])


def context(width=4):
    return CriticContext(BigramPolicy(width=width, dtype=torch.float32), 3, 0.0, 1.0)


def evidence(states, rows, width=4):
    return Evidence(HiddenStates(states, torch.zeros(rows, width)))


def fit(part, outcomes, states, steps=1500, rate=0.02):
    """Train the head alone on Monte-Carlo targets; returns the fitted law of each state."""
    rows = ["cs"] * len(outcomes)
    batch = token_batch(rows, list(range(len(outcomes))))
    told = told_batch(batch, outcomes)
    critic = part.build(context())
    adam = torch.optim.Adam([weight for _, weight in critic.trainable()], lr=rate)
    targets = MonteCarlo().build(batch, told, critic.predict(batch, told, evidence(states, len(rows))))
    for _ in range(steps):
        values = critic.predict(batch, told, evidence(states, len(rows)))
        loss = sum(t.weight * t.values[t.mask].mean() for t in critic.loss(states, batch, targets, values))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return critic.predict(batch, told, evidence(states, len(rows)))


def test_starts_at_zero_with_distinct_heads_and_monotone_quantiles():
    critic = QuantileCritic(heads=3, quantiles=8, body=SharedTrunk()).build(context())
    told = told_batch(BATCH, [1.0, 0.0])
    values = critic.predict(BATCH, told, evidence(torch.randn(4, 4), 2))
    assert isinstance(values.law, Quantiles)
    assert float(values.mean.abs().max()) < 1e-6
    drawn = values.law.values[BATCH.sampled_mask]
    assert bool((drawn.diff(dim=-1) > 0).all())
    assert float(drawn[..., -1].max() - drawn[..., 0].min()) == pytest.approx(1.0, abs=1e-3)
    heads = critic.head.hidden_weight.view(3, -1)
    assert not torch.equal(heads[0], heads[1])


def test_pinball_regression_on_a_coin_is_a_step_with_the_right_mean():
    """Bernoulli(0.3): every quantile below level .7 is 0 and every one above is 1 (value-critics note, 1.6.3)."""
    part = QuantileCritic(1, 20, huber=0.0, mean=0.0, consistency=0.0, tail=NO_TAIL, body=SharedTrunk())
    outcomes = [1.0] * 30 + [0.0] * 70
    values = fit(part, outcomes, torch.ones(100, 4))
    law = values.law.values[0, 1, 0]
    assert float(law[:13].abs().max()) < 0.06 and float((law[15:] - 1).abs().max()) < 0.06
    assert float(values.mean[0, 1]) == pytest.approx(0.3, abs=0.03)


def test_the_mean_is_right_before_the_law_is():
    """After a few updates the law is still narrow; without its own term the mean would be on the way to the median."""
    outcomes, states = [1.0] * 65 + [0.0] * 35, torch.ones(100, 4)
    plain = fit(QuantileCritic(1, 16, huber=0.05, mean=0.0, tail=NO_TAIL, body=SharedTrunk()), outcomes, states, 60)
    fitted = fit(QuantileCritic(1, 16, huber=0.05, mean=1.0, tail=NO_TAIL, body=SharedTrunk()), outcomes, states, 60)
    assert float(fitted.mean[0, 1]) == pytest.approx(0.65, abs=0.05)
    assert abs(float(plain.mean[0, 1]) - 0.65) > abs(float(fitted.mean[0, 1]) - 0.65)


def test_two_states_keep_their_own_laws():
    part = QuantileCritic(2, 10, huber=0.02, mean=0.0, tail=NO_TAIL, body=SharedTrunk())
    states = torch.cat([torch.tensor([[2.0, 0, 0, 0]]).expand(40, 4), torch.tensor([[0, 2.0, 0, 0]]).expand(40, 4)])
    values = fit(part, [0.9] * 40 + [0.2, 0.4] * 20, states)
    assert float(values.mean[0, 1]) == pytest.approx(0.9, abs=0.03)
    assert float(values.mean[79, 1]) == pytest.approx(0.3, abs=0.03)
    spread = values.law.values[:, 1].mean(1).std(-1)
    assert float(spread[79]) > 0.07 > float(spread[0])


def test_one_median_head_without_extras_is_the_scalar_critic_at_half_weight():
    """K = M = 1, huge threshold: |1/2| * 1/2 u^2 (value-critics note, 1.7 c)."""
    quantile = QuantileCritic(1, 1, huber=1e6, mean=0.0, consistency=0.0, tail=NO_TAIL, body=SharedTrunk()).build(
        context()
    )
    scalar = ScalarCritic(body=SharedTrunk()).build(context())
    with torch.no_grad():
        quantile.head.output_bias.fill_(0.2)
        scalar.head.bias.fill_(0.2)
    told = told_batch(BATCH, [1.0, 0.0])
    states = torch.randn(4, 4)
    values = scalar.predict(BATCH, told, evidence(states, 2))
    targets = MonteCarlo().build(BATCH, told, values)
    (one,) = quantile.loss(states, BATCH, targets, values)
    (other,) = scalar.loss(states, BATCH, targets, values)
    torch.testing.assert_close(one.values, other.values / 2)


@pytest.mark.parametrize("rule", [QuantileLambda(1.0, 0.9), LambdaMixture(1.0, 0.9)])
def test_law_targets_have_the_mean_of_the_lambda_return(rule):
    critic = QuantileCritic(2, 64, body=SharedTrunk(), tail=NO_TAIL).build(context())
    with torch.no_grad():
        critic.head.output_weight.normal_(0, 0.05)
    batch = token_batch(["csssss", "cssss"], [0, 0])
    told = told_batch(batch, [1.0, 0.0])
    values = critic.predict(batch, told, evidence(torch.randn(9, 4), 2))
    plain = LambdaReturn(1.0, 0.9).build(batch, told, values)
    law = rule.build(batch, told, values)
    assert isinstance(plain, Scalar) and isinstance(law, Samples)
    torch.testing.assert_close((law.values * law.weights).sum(-1), plain.values, atol=0.03, rtol=0)
    if isinstance(rule, QuantileLambda):
        torch.testing.assert_close((law.values * law.weights).sum(-1), plain.values, atol=1e-5, rtol=0)


def test_at_decay_one_every_law_target_is_the_outcome():
    critic = QuantileCritic(2, 8, body=SharedTrunk(), tail=NO_TAIL).build(context())
    told = told_batch(BATCH, [1.0, 0.0])
    values = critic.predict(BATCH, told, evidence(torch.randn(4, 4), 2))
    for rule in (QuantileLambda(1.0, 1.0), LambdaMixture(1.0, 1.0)):
        law = rule.build(BATCH, told, values)
        torch.testing.assert_close(law.values[0][BATCH.sampled_mask[0]], torch.ones(2, 8))
        torch.testing.assert_close(law.values[1][BATCH.sampled_mask[1]], torch.zeros(2, 8))


def test_tail_terms_push_the_way_the_paper_says():
    target = torch.linspace(0.2, 0.8, 20)[None]
    wide_low = target.clone()
    wide_low[:, :4] -= torch.tensor([0.3, 0.2, 0.1, 0.0])
    shape = AsymmetricTail(0.2, 0.2, 0.0, 0.0, 0.0, 1.0)
    assert float(shape.penalty(wide_low, target)) > float(shape.penalty(target, target)) == 0.0
    wide_high = target.clone()
    wide_high[:, -4:] += torch.tensor([0.0, 0.1, 0.2, 0.3])
    assert float(shape.penalty(wide_high, target)) == 0.0
    shift = AsymmetricTail(0.2, 0.2, 0.0, 0.0, 1.0, 0.0)
    assert float(shift.penalty(target - 0.1, target)) == pytest.approx(0.1, abs=1e-5)
    assert float(shift.penalty(target + 0.1, target)) == 0.0
    both = AsymmetricTail(0.2, 0.2, 1.0, 1.0, 0.0, 0.0)
    assert float(both.penalty(target + 0.1, target)) == pytest.approx(0.02, abs=1e-5)


def test_permuting_heads_changes_nothing_and_equal_heads_agree():
    critic = QuantileCritic(3, 6, body=SharedTrunk(), tail=NO_TAIL).build(context())
    with torch.no_grad():
        critic.head.output_weight.normal_(0, 0.05)
    told = told_batch(BATCH, [1.0, 0.0])
    states = torch.randn(4, 4)
    values = critic.predict(BATCH, told, evidence(states, 2))
    targets = QuantileLambda(1.0, 0.9).build(BATCH, told, values)
    before = [term.values.sum() for term in critic.loss(states, BATCH, targets, values)]
    with torch.no_grad():
        order = torch.tensor([2, 0, 1])
        critic.head.hidden_weight.copy_(critic.head.hidden_weight.view(3, -1, 4)[order].reshape(-1, 4))
        critic.head.output_weight.copy_(critic.head.output_weight[order])
        after = [term.values.sum() for term in critic.loss(states, BATCH, targets, values)]
        torch.testing.assert_close(before, after)
        critic.head.hidden_weight.copy_(critic.head.hidden_weight.view(3, -1, 4)[:1].expand(3, -1, 4).reshape(-1, 4))
        critic.head.output_weight.copy_(critic.head.output_weight[:1].expand(3, -1, -1))
        *_, consistency = critic.loss(states, BATCH, targets, values)
        assert consistency.name == "value_consistency" and float(consistency.values.abs().max()) < 1e-10


def test_refuses_a_wild_start():
    critic = ScalarCritic(body=SharedTrunk()).build(context())
    with torch.no_grad():
        critic.head.bias.fill_(16.0)
    with pytest.raises(CriticStartError, match=r"\|V\| up to 16 while rewards lie in \[0, 1\]"):
        critic.predict(BATCH, told_batch(BATCH, [1.0, 0.0]), evidence(torch.zeros(4, 4), 2))


def test_tail_terms_refuse_point_targets_before_the_run_starts():
    with pytest.raises(ValueError, match="target=lambda_mixture"):
        MonteCarlo().check(QuantileCritic())
    MonteCarlo().check(QuantileCritic(tail=NO_TAIL))
    with pytest.raises(ValueError, match="target=lambda_return"):
        LambdaMixture().check(ScalarCritic())
