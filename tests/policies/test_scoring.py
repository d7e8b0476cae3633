"""Which way tokens are scored: at once, by a plain head in chunks, or by any head in chunks that are made again."""

import pytest
import torch

from critica.functional import head as chunked
from critica.functional.head import read_laws
from critica.functional.logprobs import logprobs_and_entropies
from critica.policies import scoring
from critica.policies.language_model import LanguagePolicy
from critica.policies.scoring import HasHead, logprobs_of, scores_of
from fakes import BigramPolicy
from policies.policies_fixtures import VOCAB, tiny_model

TOKENS = 9


@pytest.fixture
def small_chunks(monkeypatch):
    """Two tokens at a time, even for a tiny vocabulary."""
    monkeypatch.setattr(chunked, "ENTRIES", 2 * VOCAB)
    monkeypatch.setattr(chunked, "LEAST_TOKENS", 1)


def given(policy, dtype=torch.float32):
    made = torch.Generator().manual_seed(4)
    states = torch.randn(TOKENS, policy.width, generator=made, dtype=torch.float64).to(dtype).requires_grad_()
    ids = torch.randint(VOCAB, (TOKENS,), generator=made)
    return states, ids, torch.linspace(0.5, 1.5, TOKENS, dtype=dtype)


def compared(policy, states, ids, heat):
    """Our pair with its gradients, and those of the whole logits."""
    pull = torch.linspace(-1, 1, TOKENS, dtype=states.dtype)
    leaves = [states, *(p for p in policy.model.parameters() if p.requires_grad)]
    pairs = []
    for made in (scores_of(policy, states, ids, heat), logprobs_and_entropies(policy.logits(states), ids, heat)):
        total = (made[0] * pull).sum() + 0.3 * (made[1] * pull.flip(0)).sum()
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
        pairs.append((made, [torch.zeros(1) if g is None else g for g in gradients]))
    return pairs


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_a_plain_head_is_scored_in_chunks(small_chunks, monkeypatch, family, tied):
    policy = LanguagePolicy(tiny_model(family, tied, dtype=torch.float64), None)
    assert isinstance(policy, HasHead)
    called = []
    monkeypatch.setattr(scoring, "head_logprobs", lambda *a, **k: called.append(1) or chunked.head_logprobs(*a, **k))
    (ours, our_gradients), (theirs, their_gradients) = compared(policy, *given(policy, torch.float64))
    assert called
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(our_gradients, their_gradients, atol=1e-12, rtol=0)


def test_an_adapter_on_the_head_is_still_scored_in_chunks(small_chunks, monkeypatch):
    from peft import LoraConfig, get_peft_model

    monkeypatch.setattr(scoring, "head_logprobs", None)  # what it must not call
    config = LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=["q_proj", "lm_head"])
    model = get_peft_model(tiny_model("qwen3", tied=False, dtype=torch.float64), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(1))
    policy = LanguagePolicy(model, None)
    widest = []
    inner, states, ids, heat = policy.head, *given(policy, torch.float64)
    inner.register_forward_hook(lambda _, args, out: widest.append(len(args[0])))
    (ours, our_gradients), (theirs, their_gradients) = compared(policy, states, ids, heat)
    assert sorted(set(widest))[:-1] == [0, 1, 2]  # only the comparison itself reads all nine at once
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(our_gradients, their_gradients, atol=1e-12, rtol=0)
    assert sum(float(g.abs().sum()) > 0 for g in our_gradients) >= 3  # the states' and both of the head's adapter


def test_a_policy_without_a_head_of_its_own_goes_the_general_way(small_chunks):
    policy = BigramPolicy(VOCAB)
    assert not isinstance(policy, HasHead)
    (ours, our_gradients), (theirs, their_gradients) = compared(policy, *given(policy, torch.float64))
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(our_gradients, their_gradients, atol=1e-12, rtol=0)


def test_a_small_batch_goes_the_old_way_bit_for_bit():
    policy = LanguagePolicy(tiny_model("qwen3"), None)
    states, ids, heat = given(policy)
    ours, theirs = scores_of(policy, states, ids, heat), logprobs_and_entropies(policy.logits(states), ids, heat)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    assert torch.equal(logprobs_of(policy, states, ids, heat), theirs[0])


def test_without_gradient_nothing_is_kept(small_chunks):
    policy = BigramPolicy(VOCAB)
    states, ids, heat = given(policy, torch.float64)
    with torch.no_grad():
        logprobs = logprobs_of(policy, states, ids, heat)
        wanted = logprobs_and_entropies(policy.logits(states), ids, heat)[0]
    assert not logprobs.requires_grad
    torch.testing.assert_close(logprobs, wanted, atol=1e-12, rtol=0)


def test_laws_are_read_chunk_by_chunk_with_what_comes_along(small_chunks):
    """The mean logit and its largest entry, weighed by a number of each token, with gradients of the head too."""
    policy = BigramPolicy(VOCAB)
    states, _, heat = given(policy, torch.float64)
    sizes = []

    def read(logits, weight):
        sizes.append(len(logits))
        return logits.mean(-1) * weight, logits.amax(-1)

    means, highest = read_laws(policy.logits, states, read, heat)
    assert sizes == [2, 2, 2, 2, 1]
    logits = policy.logits(states)
    torch.testing.assert_close(means, logits.mean(-1) * heat)
    torch.testing.assert_close(highest, logits.amax(-1))
    leaves = [states, policy.model["head"].weight]
    ours = torch.autograd.grad((means + highest).sum(), leaves)
    theirs = torch.autograd.grad((logits.mean(-1) * heat + logits.amax(-1)).sum(), leaves)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
