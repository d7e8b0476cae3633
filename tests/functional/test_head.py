"""Head and log-softmax in chunks: the same numbers and gradients as the whole [S V], however the tokens are cut."""

import pytest
import torch

from critica.functional import head
from critica.functional.head import head_logprobs, pays, tokens_at_once
from critica.functional.logprobs import logprobs_and_entropies

S, D, V = 13, 5, 11


def world(dtype=torch.float64, bias=True):
    made = torch.Generator().manual_seed(3)
    states = torch.randn(S, D, generator=made, dtype=torch.float64)
    weight = torch.randn(V, D, generator=made, dtype=torch.float64)
    shift = torch.randn(V, generator=made, dtype=torch.float64) if bias else None
    ids = torch.randint(V, (S,), generator=made)
    pulls = torch.randn(2, S, generator=made, dtype=torch.float64)
    leaves = [None if one is None else one.to(dtype).requires_grad_() for one in (states, weight, shift)]
    return leaves, ids, pulls


def whole(states, weight, bias, ids, temperature):
    logits = torch.nn.functional.linear(states, weight, bias)
    return logprobs_and_entropies(logits if logits.dtype == torch.float64 else logits.float(), ids, temperature)


def learned(function, leaves, pulls, shares):
    found = function()
    total = sum(share * (one * pull.to(one.dtype)).sum() for share, one, pull in zip(shares, found, pulls, strict=True))
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    return [one.detach() for one in found], torch.autograd.grad(total, wanted)


@pytest.mark.parametrize("chunk", [1, 4, 13, 100])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.7, -1.3)])
def test_values_and_gradients_are_those_of_the_whole(chunk, bias, shares):
    leaves, ids, pulls = world(bias=bias)
    heat = torch.linspace(0.3, 2.0, S, dtype=torch.float64)
    ours, our_gradients = learned(lambda: head_logprobs(*leaves, ids, heat, chunk), leaves, pulls, shares)
    theirs, their_gradients = learned(lambda: whole(*leaves, ids, heat), leaves, pulls, shares)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(our_gradients, their_gradients, atol=1e-12, rtol=0)


def test_only_the_log_probs_may_be_asked_to_learn():
    leaves, ids, pulls = world()
    heat = torch.ones(S, dtype=torch.float64)
    ours = torch.autograd.grad((head_logprobs(*leaves, ids, heat, 3)[0] * pulls[0]).sum(), leaves)
    theirs = torch.autograd.grad((whole(*leaves, ids, heat)[0] * pulls[0]).sum(), leaves)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_a_frozen_head_passes_the_gradient_on():
    leaves, ids, pulls = world()
    states, weight, bias = leaves[0], leaves[1].detach(), leaves[2].detach()
    heat = torch.ones(S, dtype=torch.float64)
    ours = torch.autograd.grad((head_logprobs(states, weight, bias, ids, heat, 3)[0] * pulls[0]).sum(), states)
    theirs = torch.autograd.grad((whole(states, weight, bias, ids, heat)[0] * pulls[0]).sum(), states)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_a_tied_head_collects_both_gradients():
    """The embedding and the head are one tensor: its gradient is the sum of what both give."""
    _, ids, pulls = world()
    table = torch.randn(V, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    before = torch.randint(V, (S,), generator=torch.Generator().manual_seed(2))
    heat = torch.ones(S, dtype=torch.float64)

    def gradient(function):
        return torch.autograd.grad((function(table[before].tanh(), table, None, ids, heat)[0] * pulls[0]).sum(), table)[
            0
        ]

    ours, theirs = gradient(lambda *given: head_logprobs(*given, 4)), gradient(whole)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_gradients_may_be_added_where_they_belong(dtype):
    """Two backward passes over a tied table: the same sum, whoever adds it up."""
    leaves, ids, pulls = world(dtype, bias=False)
    before, heat = torch.randint(V, (S,), generator=torch.Generator().manual_seed(2)), torch.ones(S)
    tables = [leaves[1].detach().clone().requires_grad_() for _ in range(2)]
    for into_grad, table in enumerate(tables):
        for pull in pulls:
            states = table[before].tanh()
            found = head_logprobs(states, table, None, ids, heat, 4, into_grad=bool(into_grad))[0]
            (found * pull.to(found.dtype)).sum().backward()
    tolerance = 1e-12 if dtype == torch.float64 else 0.1
    torch.testing.assert_close(tables[0].grad, tables[1].grad, atol=tolerance, rtol=0)
    assert float(tables[0].grad.abs().max()) > 0.5
    with pytest.raises(ValueError, match="needs a leaf"):
        head_logprobs(states, table * 2, None, ids, heat, 4, into_grad=True)


def test_single_precision_differs_by_rounding_alone():
    leaves, ids, pulls = world(torch.float32)
    heat = torch.full((S,), 0.7)
    ours = learned(lambda: head_logprobs(*leaves, ids, heat, 4), leaves, pulls, (1.0, 0.5))
    theirs = learned(lambda: whole(*leaves, ids, heat), leaves, pulls, (1.0, 0.5))
    torch.testing.assert_close(ours[0], theirs[0], atol=2e-6, rtol=0)
    torch.testing.assert_close(ours[1], theirs[1], atol=2e-5, rtol=0)


def test_half_weights_are_normalized_and_added_up_in_single_precision():
    leaves, ids, pulls = world(torch.bfloat16)
    heat = torch.ones(S)
    (logprobs, entropies), gradients = learned(lambda: head_logprobs(*leaves, ids, heat, 4), leaves, pulls, (1.0, 0.5))
    (wanted, others), exact = learned(lambda: whole(*leaves, ids, heat), leaves, pulls, (1.0, 0.5))
    assert logprobs.dtype == entropies.dtype == torch.float32
    torch.testing.assert_close(logprobs, wanted, atol=2e-6, rtol=0)  # the product rounds the same way
    torch.testing.assert_close(entropies, others, atol=2e-6, rtol=0)
    for ours, theirs in zip(gradients, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.float(), theirs.float(), atol=0.05, rtol=0.02)


def test_temperature_zero_is_scored_at_one():
    leaves, ids, _ = world()
    zero = head_logprobs(*leaves, ids, torch.zeros(S, dtype=torch.float64), 4)
    one = head_logprobs(*leaves, ids, torch.ones(S, dtype=torch.float64), 4)
    assert torch.equal(zero[0], one[0]) and torch.equal(zero[1], one[1])


def test_a_banned_token_adds_nothing():
    leaves, ids, pulls = world()
    states, weight, _ = leaves
    bias = torch.zeros(V, dtype=torch.float64)
    bias[4] = -torch.inf
    ids = torch.where(ids == 4, 5, ids)
    heat = torch.ones(S, dtype=torch.float64)
    ours = learned(lambda: head_logprobs(states, weight, bias, ids, heat, 4), [states, weight], pulls, (1.0, 1.0))
    kept = [i for i in range(V) if i != 4]
    small = torch.where(ids > 4, ids - 1, ids)
    theirs = learned(lambda: whole(states, weight[kept], None, small, heat), [states, weight], pulls, (1.0, 1.0))
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-12, rtol=0)


def test_no_tokens_are_no_numbers():
    leaves, _, _ = world()
    nothing = torch.zeros(0, dtype=torch.float64)
    logprobs, entropies = head_logprobs(leaves[0][:0], *leaves[1:], torch.zeros(0, dtype=torch.long), nothing)
    assert logprobs.shape == entropies.shape == (0,)


def test_nothing_of_the_whole_size_is_kept_or_made(monkeypatch):
    """Every tensor that an operation makes is counted: none has more entries than a chunk."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            found = made if isinstance(made, tuple | list) else (made,)
            largest.extend(one.numel() for one in found if isinstance(one, torch.Tensor))
            return made

    tokens, width, vocabulary, chunk = 64, 2, 50, 4
    states = torch.randn(tokens, width, requires_grad=True)
    weight = torch.randn(vocabulary, width, requires_grad=True)
    with Watch():
        logprobs, entropies = head_logprobs(
            states, weight, None, torch.zeros(tokens, dtype=torch.long), torch.ones(tokens), chunk
        )
        (logprobs.sum() + entropies.sum()).backward()
    assert max(largest) == chunk * vocabulary < tokens * vocabulary


def test_chunks_pay_only_above_their_own_size():
    assert tokens_at_once(150_000) == head.ENTRIES // 150_000
    assert tokens_at_once(10**9) == head.LEAST_TOKENS
    assert not pays(16384, 476) and pays(8192, 150_000) and not pays(tokens_at_once(32_000), 32_000)
