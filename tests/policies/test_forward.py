"""The packed forward against transformers, row by row without padding: values, gradients, and what may not matter."""

from dataclasses import replace

import pytest
import torch

from critica.policies.families import base_model, supports
from critica.policies.forward import HiddenForward
from critica.policies.layout import plan_layout
from policies.policies_fixtures import in_double, ragged_batch, references, tiny_model, token_batch

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


def losses(model, states, ends, seed: int = 3) -> torch.Tensor:
    """A scalar in which every logit and every final state has its own weight."""
    made = torch.Generator().manual_seed(seed)
    logits = model.get_output_embeddings()(states)
    first = torch.randn(logits.shape, generator=made, dtype=torch.float64).to(logits.dtype)
    second = torch.randn(ends.shape, generator=made, dtype=torch.float64).to(ends.dtype)
    return (logits * first).sum() + (ends * second).sum()


def gradients(model, states, ends) -> dict[str, torch.Tensor]:
    model.zero_grad()
    losses(model, states, ends).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("share", (True, False))
@pytest.mark.parametrize("tied", (True, False))
@pytest.mark.parametrize("family", FAMILIES)
def test_states_logits_and_every_gradient_equal_transformers(family: str, tied: bool, share: bool) -> None:
    for model, tolerance in (
        (tiny_model(family, tied), 1e-4),
        (in_double(tiny_model(family, tied, dtype=torch.float64)), 1e-6),
    ):
        batch = ragged_batch(share=share)
        forward = HiddenForward(model)
        assert forward.reason is None
        states, ends = forward.sampled_and_final_states(batch)
        wanted, wanted_ends = references(model, batch)
        assert torch.allclose(states, wanted, atol=tolerance / 10, rtol=0)
        assert torch.allclose(ends, wanted_ends, atol=tolerance / 10, rtol=0)
        made, due = gradients(model, states, ends), gradients(model, wanted, wanted_ends)
        assert made.keys() == due.keys()
        for name in due:
            assert due[name].abs().max() > 0, name
            assert torch.allclose(made[name], due[name], atol=tolerance, rtol=tolerance), name


@pytest.mark.parametrize("family", ("llama", "qwen3"))
def test_fp64_is_fp64_when_the_rotation_is(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers rounds the rotation to fp32; with ours put in its place the rest agrees to 1e-9."""
    model = in_double(tiny_model(family, dtype=torch.float64))
    forward = HiddenForward(model)
    stack = forward.stack
    assert stack is not None

    def rotary(x, position_ids):
        angles = position_ids[0].float().unsqueeze(1) * stack.inverse_frequencies()
        both = torch.cat([angles, angles], -1)[None]
        return both.cos().double(), both.sin().double()

    monkeypatch.setattr(model.model.rotary_emb, "forward", rotary)
    batch = ragged_batch()
    states, ends = forward.sampled_and_final_states(batch)
    wanted, wanted_ends = references(model, batch)
    assert torch.allclose(states, wanted, atol=1e-9, rtol=0)
    made, due = gradients(model, states, ends), gradients(model, wanted, wanted_ends)
    assert all(torch.allclose(made[name], due[name], atol=1e-9, rtol=1e-9) for name in due)


def test_sampled_states_alone_and_final_states_alone_agree_with_both_together() -> None:
    model, batch = tiny_model("qwen3"), ragged_batch()
    forward = HiddenForward(model)
    states, ends = forward.sampled_and_final_states(batch)
    assert torch.allclose(forward.sampled_states(batch), states, atol=1e-6)
    assert torch.allclose(forward.final_states(batch), ends, atol=1e-6)


def test_a_shared_prompt_is_computed_once() -> None:
    batch = ragged_batch()
    shared, alone = plan_layout(batch, True), plan_layout(replace(batch, prefix_length=batch.prefix_length * 0), True)
    assert alone.token_ids.shape[0] == int(batch.valid_mask.sum())
    assert shared.token_ids.shape[0] == int(batch.valid_mask.sum()) - 3 * 6 - 1 * 3


def test_tokens_after_the_last_needed_state_are_left_out() -> None:
    batch = ragged_batch(share=False)
    layout = plan_layout(batch, with_final=False)
    last = torch.stack([row.nonzero().max() for row in batch.sampled_mask])
    assert layout.token_ids.shape[0] == int(last.sum())


def test_a_false_claim_to_share_a_prefix_changes_nothing() -> None:
    """prefix_length says what could be shared; the tokens decide."""
    model = tiny_model("qwen3")
    batch = ragged_batch()
    lying = replace(batch, group_index=torch.zeros_like(batch.group_index), prefix_length=batch.prefix_length * 0 + 3)
    forward = HiddenForward(model)
    assert torch.allclose(forward.sampled_states(lying), forward.sampled_states(batch), atol=1e-5)


@pytest.mark.parametrize("family", ("qwen2", "qwen3"))
def test_permuting_padding_and_splitting_rows_change_nothing(family: str) -> None:
    model, batch = tiny_model(family), ragged_batch()
    forward = HiddenForward(model)
    states, ends = forward.sampled_and_final_states(batch)
    counts = batch.sampled_mask.sum(-1).tolist()
    rows = states.split(counts)
    order = torch.tensor([5, 2, 0, 6, 3, 1, 4])
    permuted, permuted_ends = forward.sampled_and_final_states(batch.select(order))
    assert torch.allclose(permuted, torch.cat([rows[i] for i in order]), atol=1e-5)
    assert torch.allclose(permuted_ends, ends[order], atol=1e-5)
    parts = [forward.sampled_states(batch.select(piece)) for piece in torch.arange(7).split(2)]
    assert torch.allclose(torch.cat(parts), states, atol=1e-5)
    two_dimensional = ("token_ids", "valid_mask", "sampled_mask", "turn_index", "node_index", "temperature")
    wide = {
        name: torch.nn.functional.pad(getattr(batch, name), (0, 5)) for name in (*two_dimensional, "behavior_logprobs")
    }
    assert torch.allclose(forward.sampled_states(replace(batch, **wide)), states, atol=1e-5)


def test_many_rows_of_very_different_lengths_are_cut_into_blocks() -> None:
    model = tiny_model("llama")
    lengths = [60] * 3 + [2] * 30 + [20] * 10
    rows = [[(3, "c"), (4 + i % 30, "c")] + [(5 + (i + j) % 30, "s") for j in range(n)] for i, n in enumerate(lengths)]
    batch = token_batch(rows, list(range(len(rows))), [2] * len(rows))
    layout = plan_layout(batch, True)
    assert len(layout.blocks) >= 3
    assert sum(block.rows * block.width for block in layout.blocks) <= 1.5 * layout.token_ids.shape[0]
    states, ends = HiddenForward(model).sampled_and_final_states(batch)
    wanted, wanted_ends = references(model, batch)
    assert torch.allclose(states, wanted, atol=1e-5)
    assert torch.allclose(ends, wanted_ends, atol=1e-5)


def test_an_unknown_family_goes_through_the_model_and_says_so() -> None:
    model, batch = tiny_model("gpt2"), ragged_batch()
    with pytest.warns(UserWarning, match="gpt2"):
        forward = HiddenForward(model)
    states, ends = forward.sampled_and_final_states(batch)
    wanted, wanted_ends = references(model, batch)
    assert torch.allclose(states, wanted, atol=1e-5)
    assert torch.allclose(ends, wanted_ends, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "word"),
    (
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "linear"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"attention_dropout": 0.1}, "dropout"),
    ),
)
def test_what_cannot_be_read_is_named(change: dict, word: str) -> None:
    reason = supports(tiny_model("llama", **change))
    assert reason is not None and word in reason
    assert "sliding" in (supports(tiny_model("mistral", sliding_window=4)) or "")


@pytest.mark.parametrize("family", ("qwen2", "qwen3"))
def test_adapters_equal_pefts_own_forward_and_alone_receive_gradients(family: str) -> None:
    from peft import LoraConfig, get_peft_model

    names = ["q_proj", "v_proj", "up_proj", "down_proj"]
    model = get_peft_model(tiny_model(family), LoraConfig(r=2, lora_alpha=8, target_modules=names)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    batch = ragged_batch()
    forward = HiddenForward(model)
    assert forward.reason is None
    inner = base_model(model)
    due: list[dict[str, torch.Tensor]] = []
    for states, ends in (forward.sampled_and_final_states(batch), references(inner, batch)):
        model.zero_grad()
        losses(inner, states, ends).backward()
        due.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    made, wanted = due
    assert made.keys() == wanted.keys() and all("lora" in name for name in made)
    assert all(torch.allclose(made[name], wanted[name], atol=1e-4, rtol=1e-4) for name in wanted)
    with model.disable_adapter():
        assert not torch.allclose(forward.sampled_states(batch), references(inner, batch)[0] * 2)
