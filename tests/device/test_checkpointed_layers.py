"""Layers computed again in the backward pass: the same gradients bit for bit, and fewer activations kept."""

import pytest
import torch

from critica.benches.memory_contender import kept_by_body
from critica.policies.body_mode import BodyMode
from critica.policies.forward import HiddenForward
from critica.policies.language_model import LanguagePolicy
from critica.policies.part import Lora
from policies.policies_fixtures import in_double, ragged_batch, tiny_model

REMADE = BodyMode(checkpoint=True)


def gradients(forward: HiddenForward, model) -> dict[str, torch.Tensor]:
    model.zero_grad()
    states, ends = forward.sampled_and_final_states(ragged_batch())
    (states.square().sum() + ends.sin().sum()).backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("family", ("llama", "qwen3"))
def test_gradients_are_equal_at_fp64(family):
    model = in_double(tiny_model(family, dtype=torch.float64))
    plain, remade = gradients(HiddenForward(model), model), gradients(HiddenForward(model, REMADE), model)
    assert plain.keys() == remade.keys()
    assert all(torch.equal(plain[name], remade[name]) for name in plain)
    assert all(weight.abs().max() > 0 for name, weight in plain.items() if "layers" in name)


def test_inner_layers_are_tapped_all_the_same():
    model = in_double(tiny_model("qwen3", dtype=torch.float64))
    plain, remade = (
        HiddenForward(model, mode).sampled_and_inner_states(ragged_batch(), (0.5,)) for mode in (BodyMode(), REMADE)
    )
    assert torch.equal(plain[0], remade[0])
    assert torch.equal(plain[1][0], remade[1][0])


def test_dropout_draws_the_same_masks_again(tiny_folder):
    """Else the backward pass would be that of another forward pass."""
    found = []
    for mode in (BodyMode(), REMADE):
        torch.manual_seed(1)
        policy = LanguagePolicy.load(str(tiny_folder), Lora(rank=2, dropout=0.5), "cpu", "float64", mode)
        with torch.no_grad():
            for name, weight in policy.model.named_parameters():
                if "lora_B" in name:
                    weight.fill_(0.3)
        torch.manual_seed(2)
        policy.sampled_states(ragged_batch()).square().sum().backward()
        found.append([weight.grad for _, weight in policy.trainable()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_fewer_activations_are_kept(tiny_folder):
    plain, remade = (LanguagePolicy.load(str(tiny_folder), None, "cpu", mode=mode) for mode in (BodyMode(), REMADE))
    batch = ragged_batch()
    assert kept_by_body(remade, batch) < 0.5 * kept_by_body(plain, batch)


def test_a_family_that_is_not_read_layer_by_layer_is_refused():
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="checkpoint_layers"):
        HiddenForward(tiny_model("gpt2"), BodyMode())  # the warning is the padded path's
        HiddenForward(tiny_model("gpt2"), REMADE)
