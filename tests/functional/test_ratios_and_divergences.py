"""Clipping and importance weights by hand and on an enumerable tree; KL estimators by exact enumeration."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critica.functional.divergences import k1, k2, k3
from critica.functional.ratios import clip_fraction, clipped_surrogate, importance, log_ratio, ratio

F64 = torch.float64


def test_clipped_surrogate_by_hand():
    ratios = torch.tensor([0.5, 1.1, 1.5, 0.5, 1.1, 1.5], dtype=F64)
    advantage = torch.tensor([2.0, 2, 2, -2, -2, -2], dtype=F64)
    loss = clipped_surrogate(ratios, advantage, 0.2, 0.3)
    assert loss.tolist() == pytest.approx([-1.0, -2.2, -2.6, 1.6, 2.2, 3.0])
    far = torch.tensor([10.0, 10.0], dtype=F64)
    both = clipped_surrogate(far, torch.tensor([1.0, -1.0], dtype=F64), 0.2, 0.3, dual=3.0)
    assert both.tolist() == pytest.approx([-1.3, 3.0])
    with pytest.raises(ValueError, match="dual"):
        clipped_surrogate(far, far, 0.2, 0.3, dual=1.0)


@given(st.floats(0.05, 4), st.floats(-2, 2).filter(lambda a: abs(a) > 1e-3))
@settings(max_examples=30)
def test_clipped_tokens_have_no_gradient_and_others_do(value, advantage):
    ratios = torch.tensor([value], dtype=F64, requires_grad=True)
    credit = torch.tensor([advantage], dtype=F64)
    clipped_surrogate(ratios, credit, 0.2, 0.28).sum().backward()
    silenced = bool(clip_fraction(ratios.detach(), credit, 0.2, 0.28))
    assert ratios.grad.item() == pytest.approx(0 if silenced else -advantage)


def test_on_policy_gradient_is_reinforce():
    logprobs = torch.tensor([-1.0, -0.3], dtype=F64, requires_grad=True)
    advantage = torch.tensor([0.7, -1.2], dtype=F64)
    clipped_surrogate(ratio(logprobs, logprobs.detach()), advantage, 0.2, 0.2, 3.0).sum().backward()
    assert logprobs.grad.tolist() == pytest.approx([-0.7, 1.2])


def test_ratios_stay_finite():
    far = torch.tensor([0.0, -500.0])
    assert ratio(far, far.flip(0)).isfinite().all()
    assert log_ratio(far, far.flip(0)).tolist() == [500, -500]
    assert importance(far - far.flip(0)).tolist() == [pytest.approx(4.85165e8, rel=1e-4), pytest.approx(0, abs=1e-8)]


def test_importance_by_hand_and_detached():
    proximal = torch.tensor([0.5, 0.2, 0.9]).log().requires_grad_()
    weights = importance(proximal - torch.tensor([0.25, 0.4, 0.1]).log())
    assert weights.tolist() == pytest.approx([2.0, 0.5, 9.0])
    assert not weights.requires_grad


def test_sequence_weights_are_unbiased_and_token_weights_are_not():
    """Two steps, two actions each, the second step's law depends on the first action; reward at the end."""
    torch.manual_seed(1)
    policy, sampler = torch.randn(2, 6, dtype=F64)
    outcome = torch.tensor([[1.0, 0.2], [0.0, 0.7]], dtype=F64)

    def steps(theta, first, second):
        laws = torch.log_softmax(theta[:2], 0), torch.log_softmax(theta[2:].reshape(2, 2)[first], 0)
        return torch.stack((laws[0][first], laws[1][second]))

    exact, estimates = torch.zeros(6, dtype=F64), {name: torch.zeros(6, dtype=F64) for name in ("sequence", "token")}
    for first in (0, 1):
        for second in (0, 1):
            theta = policy.clone().requires_grad_()
            logs = steps(theta, first, second)
            scores = [torch.autograd.grad(log, theta, retain_graph=True)[0] for log in logs]
            behavior = steps(sampler, first, second)
            reward = outcome[first, second]
            exact += logs.sum().exp().detach() * reward * sum(scores)
            chance = behavior.sum().exp()
            by_token = importance(logs - behavior)
            whole = importance(logs.sum() - behavior.sum())
            estimates["sequence"] += chance * whole * reward * sum(scores)
            estimates["token"] += chance * reward * sum(w * s for w, s in zip(by_token, scores, strict=True))
    torch.testing.assert_close(estimates["sequence"], exact, atol=1e-15, rtol=1e-12)
    assert (estimates["token"] - exact).norm() > 0.1 * exact.norm()


# KL estimators: exact expectations over a policy with five actions.


@pytest.fixture
def laws():
    torch.manual_seed(2)
    theta = torch.randn(5, dtype=F64, requires_grad=True)
    return theta, torch.log_softmax(theta, 0), torch.log_softmax(torch.randn(5, dtype=F64), 0)


def test_values_of_k1_and_k3_are_unbiased_and_k2_is_not(laws):
    _, policy, reference = laws
    exact = (policy.exp() * (policy - reference)).sum().item()
    means = [(policy.exp() * estimate(policy, reference)).sum().item() for estimate in (k1, k2, k3)]
    assert means[0] == pytest.approx(exact, abs=1e-14)
    assert means[2] == pytest.approx(exact, abs=1e-14)
    assert abs(means[1] - exact) > 0.05 * exact
    assert (k3(policy, reference) >= 0).all() and (k1(policy, reference) < 0).any()


def test_gradients_of_k1_k2_k3(laws):
    theta, policy, reference = laws
    weights = policy.exp().detach()

    def gradient(loss):
        return torch.autograd.grad(loss, theta, retain_graph=True)[0]

    reverse = gradient((policy.exp() * (policy - reference)).sum())
    forward = gradient((reference.exp() * (reference - policy)).sum())
    found = [gradient((weights * estimate(policy, reference)).sum()) for estimate in (k1, k2, k3)]
    torch.testing.assert_close(found[0], torch.zeros(5, dtype=F64), atol=1e-15, rtol=0)
    torch.testing.assert_close(found[1], reverse, atol=1e-14, rtol=0)
    torch.testing.assert_close(found[2], forward, atol=1e-14, rtol=0)
    assert (reverse - forward).norm() > 0.05 * reverse.norm()


def test_k3_does_not_overflow():
    assert k3(torch.tensor([-200.0]), torch.tensor([0.0])).isfinite().all()
    assert k3(torch.tensor([0.0]), torch.tensor([-200.0])).item() == pytest.approx(199.0)
