"""An embedding's gradient that goes into `.grad` itself: torch's bits, and no second tensor of the weight's size."""

import pytest
import torch

from critica.functional import head
from critica.policies.body_mode import BodyMode
from critica.policies.language_model import LanguagePolicy
from critica.policies.operators import embed
from critica.policies.scoring import scores_of
from policies.policies_fixtures import ragged_batch


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_it_adds_what_torch_adds(dtype):
    made = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 7, (40,), generator=made)
    pull = torch.randn(40, 5, generator=made, dtype=dtype)
    there = torch.randn(9, 5, generator=made, dtype=dtype)
    grads = []
    for own in (False, True):
        weight = torch.zeros(9, 5, dtype=dtype, requires_grad=True)
        weight.grad = there.clone()
        rows = embed(ids, weight, into_grad=True) if own else torch.nn.functional.embedding(ids, weight)
        (rows * pull).sum().backward()
        grads.append(weight.grad)
    assert torch.equal(*grads)
    assert not torch.equal(grads[0], there)


def test_without_a_gradient_to_add_to_it_makes_one():
    weight = torch.ones(4, 3, requires_grad=True)
    embed(torch.tensor([1, 1, 2]), weight, into_grad=True).sum().backward()
    assert weight.grad.tolist() == [[0.0] * 3, [2.0] * 3, [1.0] * 3, [0.0] * 3]


def test_the_gradient_in_hand_is_kept_and_no_second_one_made():
    weight = torch.ones(1000, 8, requires_grad=True)
    weight.grad = torch.zeros_like(weight)
    before, handed = weight.grad.data_ptr(), []
    loss = embed(torch.tensor([5, 5]), weight, into_grad=True).sum()
    weight.register_hook(handed.append)
    loss.backward()
    assert weight.grad.data_ptr() == before
    assert all(grad is None for grad in handed)
    assert weight.grad[5].tolist() == [2.0] * 8


def test_a_tied_model_has_the_same_gradients(tiny_folder, monkeypatch):
    """Head and embedding both add to the one matrix."""
    monkeypatch.setattr(head, "ENTRIES", 0)  # chunks of 32 tokens
    monkeypatch.setattr(head, "LEAST_TOKENS", 4)
    found = []
    for into_grad in (False, True):
        policy = LanguagePolicy.load(str(tiny_folder), None, "cpu", "float64", BodyMode(into_grad=into_grad))
        batch = ragged_batch()
        mask = batch.sampled_mask
        for _ in range(2):  # two micro-batches
            states = policy.sampled_states(batch)
            logprobs, _ = scores_of(
                policy, states, batch.token_ids[mask], batch.temperature[mask].double(), into_grad=into_grad
            )
            logprobs.square().sum().backward()
        found.append({name: weight.grad for name, weight in policy.trainable()})
    plain, own = found
    assert all(torch.allclose(plain[name], own[name], rtol=1e-12, atol=1e-12) for name in plain)
