"""Heads that predict laws: where they start, what they reduce to, and that prediction is still."""

import math
from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.bottleneck import Bottleneck
from critica.critics.bounded import BoundedCritic
from critica.critics.categorical import CategoricalCritic
from critica.critics.gaussian import GaussianCritic
from critica.critics.quantile import NO_TAIL, QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.success import SuccessCritic
from critica.critics.targets import LambdaMixture, MonteCarlo
from critica.functional.bounds import bounded
from critica.functional.steps import Steps
from critica.records.arrays import Categorical, Gaussian, Scalar
from critica.records.evidence import Evidence, HiddenStates
from fakes import BigramPolicy

BATCH = token_batch(["csss", "css."], [0, 0])
TOLD = told_batch(BATCH, [1.0, 0.0])
STATES = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
EVIDENCE = Evidence(HiddenStates(STATES, torch.randn(2, 4, generator=torch.Generator().manual_seed(2))))
SHARED = SharedTrunk()


def live(part, low=0.0, high=1.0, shaken=False):
    critic = part.build(CriticContext(BigramPolicy(width=4, dtype=torch.float32), 3, low, high))
    if shaken:
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for _, weight in critic.trainable():
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return critic


def expect(critic):
    return critic.predict(BATCH, TOLD, EVIDENCE)


def test_where_they_start():
    flat = expect(live(CategoricalCritic(5, body=SHARED), -1.0, 3.0))
    assert isinstance(flat.law, Categorical)
    torch.testing.assert_close(flat.law.probs[BATCH.sampled_mask], torch.full((5, 1, 5), 0.2))
    torch.testing.assert_close(flat.mean[BATCH.sampled_mask], torch.ones(5))
    torch.testing.assert_close(flat.bootstrap, torch.ones(2))
    middle = expect(live(BoundedCritic(SHARED), -1.0, 3.0))
    torch.testing.assert_close(middle.mean[BATCH.sampled_mask], torch.ones(5))
    gaussian = expect(live(GaussianCritic(8, floor=0.01, body=SHARED), -1.0, 3.0))
    assert isinstance(gaussian.law, Gaussian) and float(gaussian.mean.abs().max()) == 0.0
    torch.testing.assert_close(gaussian.law.spread[BATCH.sampled_mask], torch.full((5,), 2.04))
    for values in (flat, middle, gaussian):
        assert bool((values.mean[~BATCH.sampled_mask] == 0).all())


def test_two_atoms_learn_as_a_coin_does():
    """Gradients of the two logits are minus and plus those of the logistic loss."""
    critic = live(CategoricalCritic(2, "two_hot", body=SHARED), shaken=True)
    values = expect(critic)
    targets = MonteCarlo().build(BATCH, TOLD, values)
    (term,) = critic.loss(STATES, BATCH, targets, values)
    logit = critic.head(STATES).diff(dim=-1)[:, 0]
    coin = torch.nn.functional.binary_cross_entropy_with_logits(logit, targets.values[targets.mask], reduction="none")
    torch.testing.assert_close(term.values[targets.mask], coin)
    torch.testing.assert_close(values.mean[BATCH.sampled_mask], torch.sigmoid(logit))


def test_a_law_as_target_is_the_mixture_of_its_samples():
    """Cross-entropy is linear in the target: learning from a law is learning from its samples, each at its weight."""
    for encoding in ("two_hot", "hl_gauss"):
        critic = live(CategoricalCritic(7, encoding, body=SHARED), shaken=True)
        values = expect(critic)
        law = LambdaMixture(1.0, 0.5, 6).build(BATCH, TOLD, values)
        (term,) = critic.loss(STATES, BATCH, law, values)
        parts = [Scalar(law.values[..., s].contiguous(), law.mask) for s in range(6)]
        each = torch.stack([critic.loss(STATES, BATCH, one, values)[0].values for one in parts])
        torch.testing.assert_close(term.values, each.mean(0), atol=1e-5, rtol=1e-5)


def test_a_fixed_spread_of_one_without_dropout_is_the_scalar_loss():
    critic = live(GaussianCritic(8, dropout=0.0, balance=0.0, fixed=1.0, body=SHARED), shaken=True)
    values = expect(critic)
    targets = MonteCarlo().build(BATCH, TOLD, values)
    (term,) = critic.loss(STATES, BATCH, targets, values)
    torch.testing.assert_close(term.values, 0.5 * (values.mean - targets.values).square() * targets.mask)
    assert float(values.law.spread[BATCH.sampled_mask].max()) == 1.0


def test_dropout_is_there_in_training_and_gone_in_prediction():
    critic = live(GaussianCritic(64, dropout=0.5, body=SHARED), shaken=True)
    first, second = expect(critic), expect(critic)
    assert torch.equal(first.mean, second.mean)
    targets = MonteCarlo().build(BATCH, TOLD, first)

    def loss(seed):
        torch.manual_seed(seed)
        return critic.loss(STATES, BATCH, targets, first)[0].values

    assert torch.equal(loss(0), loss(0)) and not torch.equal(loss(0), loss(1))
    assert torch.equal(expect(critic).mean, first.mean)  # training left no mode behind


def test_the_floor_holds_the_spread():
    critic = live(GaussianCritic(8, floor=0.1, body=SHARED), -1.0, 1.0)
    with torch.no_grad():
        critic.head.output.bias[1] = -50.0
    assert float(expect(critic).law.spread[BATCH.sampled_mask].min()) == pytest.approx(0.2)


def test_the_bounded_critic_is_the_scalar_one_through_the_bound():
    bound, plain = live(BoundedCritic(SHARED), -1.0, 2.0), live(ScalarCritic(SHARED), -1.0, 2.0)
    with torch.no_grad():
        for critic in (bound, plain):
            critic.head.weight.copy_(torch.tensor([[0.3, -0.2, 0.1, 0.05]]))
    expected = bounded(expect(plain).mean, -1.0, 2.0).where(BATCH.sampled_mask, 0.0)
    torch.testing.assert_close(expect(bound).mean, expected)
    with torch.no_grad():
        bound.head.bias.fill_(1e7)
    assert float(expect(bound).mean.max()) <= 2.0
    values = expect(bound)
    targets = MonteCarlo().build(BATCH, TOLD, values)
    (term,) = bound.loss(STATES, BATCH, targets, values)
    torch.testing.assert_close(term.values[0, 1:], torch.full((3,), 0.5), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("part", "pull"),
    [(SuccessCritic(Steps("tokens", 1), SHARED), 0.9933071), (BoundedCritic(SHARED), 0.9371670 / (26 * math.pi))],
)
def test_a_certain_and_wrong_value_is_pulled_by_its_error_or_hardly(part, pull):
    critic = live(part, -1.0, 3.0)
    with torch.no_grad():
        critic.head.weight.zero_()
        critic.head.bias.fill_(5.0)
    values = expect(critic)
    (term,) = critic.loss(STATES, BATCH, Scalar(torch.full_like(values.mean, -1.0), BATCH.sampled_mask), values)
    (slope,) = torch.autograd.grad(term.values[BATCH.sampled_mask].mean(), critic.head.bias)
    scale = 1.0 if isinstance(part, SuccessCritic) else 4.0**2  # squared errors are those of returns, not of shares
    assert float(slope) == pytest.approx(scale * pull, rel=1e-4)


def test_wrong_settings_are_refused_by_a_sentence():
    for wrong in (
        lambda: CategoricalCritic(1), lambda: CategoricalCritic(sigma=0.0), lambda: GaussianCritic(dropout=1.0),
        lambda: GaussianCritic(floor=0.0), lambda: GaussianCritic(balance=2.0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"at least|above 0|in \[0, 1"):
            wrong()
    values = expect(live(BoundedCritic(SHARED)))
    law = LambdaMixture(1.0, 1.0, 3).build(BATCH, TOLD, values)
    with pytest.raises(TypeError, match="learns from scalar targets"):
        live(BoundedCritic(SHARED)).loss(STATES, BATCH, law, values)


@pytest.mark.parametrize(
    "part",
    [QuantileCritic(1, 4, 8, tail=NO_TAIL, body=SHARED, regularizers=(Bottleneck(3, 0.5),)),
     CategoricalCritic(5, body=SHARED, regularizers=(Bottleneck(3, 0.5),)),
     GaussianCritic(8, 0.0, body=SHARED, regularizers=(Bottleneck(3, 0.5),)),
     BoundedCritic(SHARED, 4, (Bottleneck(3, 0.5),))],
)  # fmt: skip
def test_a_bottleneck_goes_before_any_head(part):
    """The head reads the code: its noise in training, its mean in prediction, and what it costs among the losses."""
    critic = live(part, shaken=True)
    first, second = expect(critic), expect(critic)
    assert torch.equal(first.mean, second.mean)
    targets = MonteCarlo().build(BATCH, TOLD, first)
    terms = {term.name: term for term in critic.loss(STATES, BATCH, targets, first)}
    assert terms["bottleneck_kl"].weight == 0.5 and float(terms["bottleneck_kl"].values.detach().max()) > 0
    code = critic.shapers[0].settle(STATES)
    with torch.no_grad():
        torch.testing.assert_close(
            critic.read(BATCH, code, critic.shapers[0].settle(EVIDENCE[HiddenStates].bootstrap)).mean, first.mean
        )
    with pytest.raises(ValueError, match="named twice"):
        replace(part, regularizers=(Bottleneck(3), Bottleneck(3)))
