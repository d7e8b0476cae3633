"""Divergences by hand, gradients against autograd, buckets against laws coarsened by hand, and who gets no gradient."""

import math

import pytest
import torch

from critica.functional.distillation import divergence, readout_divergence, reverse_kl
from critica.functional.logprobs import token_logprobs

F64 = torch.float64
KINDS = ("forward_kl", "reverse_kl", "jsd")


def kl(p, q):
    return float((p * (p / q).log()).sum())


def logits(*rows):
    return torch.tensor(rows, dtype=F64).log()


P, Q = torch.tensor([0.5, 0.3, 0.2], dtype=F64), torch.tensor([0.1, 0.2, 0.7], dtype=F64)


def test_each_kind_is_the_divergence_that_its_name_says():
    own, told = P.log()[None] + 2.0, Q.log()[None] - 1.0  # logits: a constant changes nothing
    middle = 0.3 * Q + 0.7 * P
    expected = {"reverse_kl": kl(P, Q), "forward_kl": kl(Q, P), "jsd": 0.3 * kl(Q, middle) + 0.7 * kl(P, middle)}
    for kind, value in expected.items():
        assert float(divergence(own, told, kind, mix=0.3)) == pytest.approx(value, abs=1e-12)
    assert len(set(expected.values())) == 3


def test_jensen_shannon_is_symmetric_and_at_most_the_log_of_two():
    own, told = P.log()[None], Q.log()[None]
    assert float(divergence(own, told, "jsd")) == pytest.approx(float(divergence(told, own, "jsd")))
    apart = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
    assert float(divergence(*apart, "jsd")) == pytest.approx(math.log(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", [0, 1, 3, 5])
def test_gradients_are_those_of_the_value(kind, top):
    torch.manual_seed(0)
    own, told = torch.randn(9, 7, dtype=F64, requires_grad=True), torch.randn(9, 7, dtype=F64)
    assert torch.autograd.gradcheck(lambda z: divergence(z, told, kind, 0.4, top), own)


@pytest.mark.parametrize("kind", KINDS)
def test_top_compares_the_likeliest_tokens_of_the_teacher_and_the_rest_as_one(kind):
    own, told = logits([0.4, 0.3, 0.2, 0.1]), logits([0.05, 0.5, 0.15, 0.3])
    coarse = divergence(logits([0.3, 0.1, 0.6]), logits([0.5, 0.3, 0.2]), kind)  # tokens 1, 3 and {0, 2}
    assert float(divergence(own, told, kind, top=2)) == pytest.approx(float(coarse), abs=1e-12)
    whole = divergence(own, told, kind)
    assert float(coarse) < float(whole)
    for top in (3, 4, 100):
        assert torch.equal(divergence(own, told, kind, top=top), whole)


def test_a_bucket_pulls_all_its_tokens_alike():
    own = logits([0.4, 0.3, 0.2, 0.1]).requires_grad_()
    divergence(own, logits([0.05, 0.5, 0.15, 0.3]), "reverse_kl", top=2).sum().backward()
    assert float(own.grad[0, 0] / own.grad[0, 2]) == pytest.approx(0.4 / 0.2)
    assert float(own.grad.sum()) == pytest.approx(0.0, abs=1e-12)
    assert own.grad[0, 1] < 0 < own.grad[0, 0]  # descent raises what the teacher likes more


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", [0, 2])
def test_banned_tokens_and_extreme_logits_stay_finite(kind, top):
    own = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf], [300.0, 0.0, -300.0, 0.0]], requires_grad=True)
    told = torch.tensor([[0.0, 1.0, -torch.inf, -torch.inf], [0.0, 0.0, 0.0, 0.0]])
    found = divergence(own, told, kind, top=top)
    found.sum().backward()
    assert found.isfinite().all() and own.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_change_nothing(kind, monkeypatch):
    torch.manual_seed(1)
    own, told = torch.randn(23, 11), torch.randn(23, 11)
    whole = divergence(own, told, kind)
    monkeypatch.setattr("critica.functional.distillation.CHUNK", 30)
    assert torch.allclose(whole, divergence(own, told, kind))


def test_the_sampled_tokens_log_ratio_has_the_reverse_divergence_as_its_mean_and_gradient():
    """What a sampled token teaches, over all tokens with their chances: sum_a p_a (log p_a - log q_a) d log p_a."""
    own = P.log().clone().requires_grad_()
    rows, ids, ones = own.expand(3, 3), torch.arange(3), torch.ones(3, dtype=F64)
    logs = token_logprobs(rows, ids, ones)
    gap = (logs - Q.log()).detach()
    (P * gap * logs).sum().backward()
    exact = P.log()[None].clone().requires_grad_()
    reverse_kl(exact, Q.log()[None]).sum().backward()
    torch.testing.assert_close(own.grad, exact.grad[0], atol=1e-12, rtol=0)
    assert float((P * gap).sum()) == pytest.approx(kl(P, Q))


def test_a_readout_teaches_its_states_and_never_its_head(monkeypatch):
    torch.manual_seed(2)
    head = torch.nn.Linear(4, 6, dtype=F64)
    states, final = torch.randn(5, 4, dtype=F64, requires_grad=True), torch.randn(5, 4, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: readout_divergence(z, final, head), states)
    found = readout_divergence(states, final, head)
    torch.testing.assert_close(found, divergence(head(states), head(final), "jsd"))
    found.sum().backward()
    assert final.grad is None and head.weight.grad is None and head.bias.grad is None
    assert states.grad.abs().sum() > 0
    monkeypatch.setattr("critica.functional.distillation.tokens_at_once", lambda vocabulary: 2)
    torch.testing.assert_close(readout_divergence(states, final, head), found)


def test_equal_states_are_at_distance_zero_and_feel_nothing():
    torch.manual_seed(3)
    head, states = torch.nn.Linear(4, 6), torch.randn(5, 4, requires_grad=True)
    found = readout_divergence(states, states.detach(), head)
    found.sum().backward()
    assert torch.allclose(found, torch.zeros(5), atol=1e-7) and states.grad.abs().max() < 1e-7
