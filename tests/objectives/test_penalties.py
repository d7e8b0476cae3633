"""What a policy pays besides its return: numbers and gradients by hand, and weights that may stand but once."""

import math
from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.objectives.base import TokenScores
from critica.objectives.penalties import Entropy, ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence, ReferenceLogprobs
from objectives.losses_at import by_hand, learned

ROWS = ["csss", "cs"]
POLICY = [-0.2, -1.0, -0.7, -0.4]
REFERENCE = [-0.5, -0.6, -0.7, -1.4]
NOTHING = [0.0] * 4


def paid(penalty, proximal=POLICY):
    objective = PolicyLoss(PolicyGradient(), mismatch=(), penalties=(penalty,))
    return by_hand(objective, ROWS, POLICY, proximal, proximal, NOTHING, REFERENCE)[:2]


APART = [r - p for r, p in zip(REFERENCE, POLICY, strict=True)]


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    [
        ("k1", lambda d: -d, lambda d: 1.0),
        ("k2", lambda d: d * d / 2, lambda d: -d),
        ("k3", lambda d: math.exp(d) - d - 1, lambda d: 1 - math.exp(d)),
    ],
)
def test_the_distance_from_the_reference_by_hand(estimator, value, slope):
    loss, gradient = paid(ReferenceKl(0.3, estimator))
    assert loss == pytest.approx(0.3 * sum(map(value, APART)) / 4)
    assert gradient == pytest.approx([0.3 * slope(d) / 4 for d in APART])


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    [
        ("k1", lambda d: -d, lambda d: 1.0),
        ("k2", lambda d: d * d / 2, lambda d: -d),
        ("k3", lambda d: math.exp(d) - d - 1, lambda d: 1 - math.exp(d)),
    ],
)
def test_off_policy_the_ratio_weighs_and_is_differentiated(estimator, value, slope):
    proximal = [-0.3, -0.9, -1.2, -0.4]
    ratios = [math.exp(p - q) for p, q in zip(POLICY, proximal, strict=True)]
    loss, gradient = paid(ReferenceKl(0.3, estimator, off_policy=True), proximal)
    assert loss == pytest.approx(0.3 * sum(r * value(d) for r, d in zip(ratios, APART, strict=True)) / 4)
    expected = [0.3 * r * (slope(d) + value(d)) / 4 for r, d in zip(ratios, APART, strict=True)]
    assert gradient == pytest.approx(expected)


def test_weighed_by_the_ratio_k1_and_k3_have_the_gradient_of_the_kl():
    """Exactly, over a policy of five actions that sampled for itself."""
    torch.manual_seed(3)
    theta = torch.randn(5, dtype=torch.float64, requires_grad=True)
    logs = torch.log_softmax(theta, 0)
    reference = torch.log_softmax(torch.randn(5, dtype=torch.float64), 0)
    due = torch.autograd.grad((logs.exp() * (logs - reference)).sum(), theta, retain_graph=True)[0]
    batch = token_batch(["cs"] * 5, [0] * 5)

    def grid(values):
        return torch.stack((torch.zeros_like(values), values), 1)

    scores = TokenScores(grid(logs), grid(logs.detach()), grid(logs.detach()) * 0)
    evidence = Evidence(ReferenceLogprobs("initial", grid(reference)))
    for estimator, off_policy, right in (("k1", True, True), ("k3", True, True), ("k3", False, False)):
        values = ReferenceKl(1.0, estimator, off_policy).values(scores, evidence)[:, 1]
        found = torch.autograd.grad((logs.detach().exp() * values).sum(), theta, retain_graph=True)[0]
        assert torch.allclose(found, due, atol=1e-12) is right, (estimator, off_policy)
    assert batch.rows == 5


def test_entropy_is_a_bonus_to_be_maximized():
    batch = token_batch(ROWS, [0, 1])
    told = told_batch(batch, [0.0, 0.0])
    mask = batch.sampled_mask
    leaf = torch.where(mask, 1.5, 0.0).double().requires_grad_()
    zero = torch.zeros_like(leaf)
    objective = PolicyLoss(PolicyGradient(), mismatch=(), penalties=(Entropy(0.25),))
    assert objective.needs_entropy_gradient and not replace(objective, penalties=()).needs_entropy_gradient
    credit = Advantages(zero.detach(), mask, torch.zeros(2, dtype=torch.bool), "none")
    scores = TokenScores(zero, zero.detach(), leaf)
    terms, _ = objective.terms(scores, batch, credit, Evidence(), told)
    (entropy,) = [term for term in terms if term.name == "entropy"]
    assert entropy.weight == 0.25 and entropy.values[mask].tolist() == pytest.approx([-1.5] * 4)


def test_the_learner_pays_every_penalty_beside_the_policy():
    plain, _ = learned(PolicyLoss(PolicyGradient(), mismatch=()))
    paid, said = learned(PolicyLoss(PolicyGradient(), mismatch=(), penalties=(Entropy(0.5),)))
    assert (paid["embed.weight"] - plain["embed.weight"]).abs().max() > 1e-3
    assert said["loss/entropy"] < 0 and said["policy/entropy"] == pytest.approx(-said["loss/entropy"], rel=0.3)
    for change in (dict(tokens=1), dict(order=[4, 2, 0, 5, 3, 1]), dict(padding=3)):
        other, _ = learned(PolicyLoss(PolicyGradient(), mismatch=(), penalties=(Entropy(0.5),)), **change)
        for name, value in paid.items():
            assert (other[name] - value).abs().max() < 1e-12


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match="negative"):
        ReferenceKl(-0.1)
    with pytest.raises(ValueError, match="stand once"):
        PolicyLoss(PolicyGradient(), penalties=(ReferenceKl(0.1), ReferenceKl(0.2, "k2")))
    assert PolicyLoss(PolicyGradient(), penalties=(ReferenceKl(),)).needs == {ReferenceLogprobs}
