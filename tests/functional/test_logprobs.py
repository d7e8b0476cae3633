"""Log-probs and the one shift: against loops over rows and tokens, and against finite differences."""

import math

import pytest
import torch

from critica.functional import logprobs
from critica.functional.logprobs import (
    final_states,
    logprobs_and_entropies,
    states_before,
    token_entropies,
    token_logprobs,
)


def test_states_stand_one_token_before():
    hidden = torch.arange(2 * 5 * 3, dtype=torch.float64).reshape(2, 5, 3)
    mask = torch.tensor([[0, 0, 1, 0, 1], [0, 1, 1, 0, 0]], dtype=torch.bool)
    expected = torch.stack([hidden[0, 1], hidden[0, 3], hidden[1, 0], hidden[1, 1]])
    assert torch.equal(states_before(hidden, mask), expected)


def test_states_before_carry_gradient_to_the_right_places():
    hidden = torch.zeros(1, 4, 2, requires_grad=True)
    states_before(hidden, torch.tensor([[False, False, True, True]])).sum().backward()
    assert hidden.grad[0, :, 0].tolist() == [0, 1, 1, 0]


def test_a_sampled_first_token_is_refused():
    with pytest.raises(ValueError, match="give a prompt"):
        states_before(torch.zeros(1, 2, 1), torch.tensor([[True, False]]))


def test_final_states_are_the_last_valid_ones():
    hidden = torch.arange(3 * 4 * 2, dtype=torch.float32).reshape(3, 4, 2)
    valid = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
    assert torch.equal(final_states(hidden, valid), torch.stack([hidden[0, 1], hidden[1, 3], hidden[2, 0]]))
    with pytest.raises(ValueError, match="no valid token"):
        final_states(hidden, torch.zeros(3, 4, dtype=torch.bool))


def test_padding_changes_no_state():
    hidden, mask = torch.randn(2, 5, 3), torch.tensor([[0, 1, 1, 0, 0], [0, 0, 1, 1, 1]], dtype=torch.bool)
    wide = torch.cat((hidden, torch.full((2, 3, 3), torch.nan)), 1)
    wide_mask = torch.cat((mask, torch.zeros(2, 3, dtype=torch.bool)), 1)
    assert torch.equal(states_before(hidden, mask), states_before(wide, wide_mask))


def plain(logits, ids, temperature):
    heat = torch.where(temperature == 0, 1.0, temperature).to(logits)
    every = torch.log_softmax(logits / heat[:, None], -1)
    return every.gather(-1, ids[:, None])[:, 0], -(every.exp() * every).sum(-1)


@pytest.mark.parametrize("chunk", [1, 12, 1 << 16])
@pytest.mark.parametrize("heat", [1.0, 0.7])
def test_values_and_gradients_equal_the_plain_formula(monkeypatch, chunk, heat):
    monkeypatch.setattr(logprobs, "CHUNK", chunk)
    torch.manual_seed(0)
    logits = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    ids, temperature = torch.randint(5, (7,)), torch.full((7,), heat)
    weights = torch.randn(2, 7, dtype=torch.float64)

    def gradient(function, first, second):
        pair = function(logits, ids, temperature)
        total = first * (pair[0] * weights[0]).sum() + second * (pair[1] * weights[1]).sum()
        return torch.stack(pair).detach(), torch.autograd.grad(total, logits)[0]

    for first, second in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        ours, theirs = (gradient(function, first, second) for function in (logprobs_and_entropies, plain))
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    alone = torch.autograd.grad((token_logprobs(logits, ids, temperature) * weights[0]).sum(), logits)[0]
    torch.testing.assert_close(alone, gradient(plain, 1.0, 0.0)[1], atol=1e-12, rtol=0)
    alone = torch.autograd.grad((token_entropies(logits, temperature) * weights[1]).sum(), logits)[0]
    torch.testing.assert_close(alone, gradient(plain, 0.0, 1.0)[1], atol=1e-12, rtol=0)


def test_finite_differences_agree():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    ids, temperature = torch.tensor([0, 3, 1]), torch.tensor([1.0, 0.5, 2.0])
    assert torch.autograd.gradcheck(lambda z: logprobs_and_entropies(z, ids, temperature), logits)


def test_hand_numbers():
    logits = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)
    ids, one = torch.tensor([1]), torch.ones(1)
    assert token_logprobs(logits, ids, one).item() == pytest.approx(math.log(0.75))
    assert token_entropies(logits, one).item() == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert token_logprobs(logits, ids, 2 * one).item() == pytest.approx(math.log(3**0.5 / (1 + 3**0.5)))
    assert token_logprobs(logits, ids, 0 * one).item() == pytest.approx(math.log(0.75))  # greedy: scored at 1


def test_a_banned_token_leaves_entropy_and_gradients_finite():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]], requires_grad=True)
    chosen, entropy = logprobs_and_entropies(logits, torch.tensor([0]), torch.ones(1))
    (chosen + entropy).sum().backward()
    assert entropy.item() == pytest.approx(math.log(2))
    assert torch.allclose(logits.grad, torch.tensor([[0.5, -0.5, 0.0]]))


def test_no_tokens_is_no_error():
    assert token_entropies(torch.zeros(0, 4), torch.zeros(0)).shape == (0,)
    assert token_logprobs(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0)).shape == (0,)
