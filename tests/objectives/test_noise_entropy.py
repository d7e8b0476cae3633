"""The Policy Cliff: the bound by enumeration, the flip of the argmax, and the temperature as a term of the loss."""

import pytest
import torch

from arrays import token_batch, told_batch
from critica.functional.soft_policy import noise_of_rates, soft_policy, temperature_for_noise
from critica.objectives.base import TokenScores
from critica.objectives.noise_entropy import NoiseEntropy
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import change_recipe
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence, SaidError


def test_the_soft_policy_moves_by_at_most_the_bound():
    """Random pairs: max |log pi - log pi'| <= 2 |r - r'| / tau, and the bound is nearly reached."""
    made, tightest = torch.Generator().manual_seed(0), 0.0
    for _ in range(300):
        actions = int(torch.randint(2, 7, (), generator=made))
        reward = torch.rand(actions, generator=made, dtype=torch.float64)
        noise = float(torch.rand((), generator=made)) * 0.5
        sign = torch.where(torch.rand(actions, generator=made) < 0.3, 1.0, -1.0).double()
        log_ratio = 0.1 + float(torch.rand((), generator=made))
        tau = temperature_for_noise(noise, log_ratio)
        moved = (soft_policy(reward, tau) - soft_policy(reward + noise * sign, tau)).abs().max()
        assert float(moved) <= log_ratio + 1e-9
        tightest = max(tightest, float(moved) / log_ratio)
    assert tightest > 0.9
    assert temperature_for_noise(0.05, 1.0) == pytest.approx(0.1)


def test_the_argmax_flips_where_the_soft_policy_hardly_moves():
    above, below = torch.tensor([1.0, 1.0 - 1e-6, 0.0]), torch.tensor([1.0, 1.0 + 1e-6, 0.0])
    assert (int(above.argmax()), int(below.argmax())) == (0, 1)
    moved = (soft_policy(above, 0.1) - soft_policy(below, 0.1)).abs().max()
    assert 0 < float(moved) < 2 * 2e-6 / 0.1 + 1e-6
    odds = soft_policy(torch.tensor([1.0, 0.7, 0.0]), 0.1)
    assert float(odds[1] - odds[0]) == pytest.approx(-0.3 / 0.1, abs=1e-5)  # worse by d: exp(-d / tau) of the odds


def test_noise_of_wrong_verdicts():
    assert noise_of_rates(0.1, 0.25) == 0.25
    assert noise_of_rates(0.3, 0.1, -1.0, 1.0) == pytest.approx(0.6)


def expected_gradient(logits, reward, penalty):
    """d E[loss] / d logits over every answer of one token, by the objective itself, with its reduction by hand."""
    free = logits.clone().requires_grad_()
    law = free.log_softmax(-1)
    loss = torch.zeros((), dtype=logits.dtype)
    value = float((law.detach().exp() * reward).sum())
    for action in range(len(reward)):
        batch = token_batch(["cs"], [0])
        mask = batch.sampled_mask
        entropy = -(law.exp() * law).sum()
        place = mask.to(logits.dtype)
        scores = TokenScores(place * law[action], place * law[action].detach(), place * entropy)
        credit = Advantages(place * (reward[action] - value), mask, torch.tensor([False]), "test")
        objective = PolicyLoss(PolicyGradient(), mismatch=(), penalties=(penalty,))
        terms, _ = objective.terms(scores, batch, credit, Evidence(), told_batch(batch, [float(reward[action])]))
        one = sum(term.weight * (term.values * term.mask).sum() for term in terms)
        loss = loss + law[action].detach().exp() * one
    return torch.autograd.grad(loss, free)[0]


@pytest.mark.parametrize(("noise", "allowed"), [(0.05, 1.0), (0.2, 0.5)])
def test_the_loss_is_stationary_at_the_soft_policy_and_nowhere_beside_it(noise, allowed):
    """E[loss gradient] is -(grad E[r] + tau grad H): zero at pi proportional to exp(r / tau), else toward it."""
    reward = torch.tensor([1.0, 0.9, 0.2, 0.0], dtype=torch.float64)
    penalty = NoiseEntropy(noise, allowed)
    optimum = soft_policy(reward, 2 * noise / allowed)
    assert float(expected_gradient(optimum, reward, penalty).abs().max()) < 1e-7
    for beside in torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.5:
        logits = optimum + beside - beside.mean()
        gradient = expected_gradient(logits, reward, penalty)
        before = torch.nn.functional.kl_div(optimum, logits.log_softmax(-1), log_target=True, reduction="sum")
        after = torch.nn.functional.kl_div(
            optimum, (logits - 0.05 * gradient).log_softmax(-1), log_target=True, reduction="sum"
        )
        assert float(gradient.norm()) > 1e-4 and float(after) < float(before)


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="at least 0"):
        NoiseEntropy(noise=-0.1)
    with pytest.raises(ValueError, match="above 0"):
        NoiseEntropy(allowed_log_ratio=0.0)
    with pytest.raises(ConfigError, match="divided by a spread"):
        change_recipe(RECIPES["policy_cliff"], ["advantage.scale=group"], PARTS)
    with pytest.raises(ConfigError, match="source"):
        change_recipe(RECIPES["policy_cliff"], ['objective.penalties=[{use="noise_entropy", source="guessed"}]'], PARTS)


@pytest.mark.parametrize(("error", "counted"), [(0.0, 0.0), (0.02, 0.02), (0.3, 0.05)])
def test_audits_set_the_temperature_up_to_the_cap(error, counted):
    """The same loss as with that noise stated."""
    batch = token_batch(["css"], [0])
    place = batch.sampled_mask.double()
    scores = TokenScores(place * -0.5, place * -0.5, place * 0.7)
    audited = NoiseEntropy(noise=0.05, allowed_log_ratio=2.0, source="audited")
    stated = NoiseEntropy(noise=counted, allowed_log_ratio=2.0)
    found = audited.weight * audited.values(scores, Evidence(SaidError(error)))
    torch.testing.assert_close(found, stated.weight * stated.values(scores, Evidence()))
    assert found.sum().item() == pytest.approx(-counted * 0.7 * 2)  # tau = 2 noise / 2 nats, at two tokens
    assert audited.needs == {SaidError} and not stated.needs
