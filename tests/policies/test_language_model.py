"""The policy as users hold it: prompts, files, adapters, its backbone, and errors that say what to do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from critica.policies.base import Backbone, SampleLimits, SampleRequest, TrainablePolicy
from critica.policies.language_model import LanguageBackbone, LanguagePolicy, PolicyLoadError, PromptTooLong
from critica.policies.part import Lora
from critica.records.words import Message
from policies.policies_fixtures import ragged_batch, small_tokenizer, tiny_model

TEMPLATE = (
    "{{ '<bos>' }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def policy_of(family: str = "qwen3", template: str | None = None, **more) -> LanguagePolicy:
    return LanguagePolicy(tiny_model(family, vocab_size=290, **more), small_tokenizer(template))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies") / "saved"
    policy_of(template=TEMPLATE).save(folder)
    return folder


def test_it_is_what_the_rest_expects() -> None:
    policy = policy_of()
    assert isinstance(policy, TrainablePolicy)
    assert isinstance(LanguageBackbone.from_policy(policy), Backbone)
    assert policy.width == 16 and policy.end_ids == (2,) and policy.context_length == 96


def test_a_chat_template_is_respected_and_opens_the_answer() -> None:
    policy = policy_of(template=TEMPLATE)
    ids = policy.encode([Message("user", "the sum")])
    wanted = policy.tokenizer("<bos><|user|>the sum<eos><|assistant|>", add_special_tokens=False)["input_ids"]
    assert ids == tuple(wanted)
    assert ids.count(1) == 1 and ids[-1] == policy.tokenizer.convert_tokens_to_ids("<|assistant|>")


def test_without_a_template_the_text_is_joined_by_lines() -> None:
    policy = policy_of()
    ids = policy.encode([Message("system", "what is"), Message("user", "the sum")])
    assert ids == (1, *policy.tokenizer("what is\nthe sum", add_special_tokens=False)["input_ids"])
    assert policy.decode_text((*ids, 2)) == "what is\nthe sum"


def test_token_texts_are_the_valid_tokens_in_order() -> None:
    policy, batch = policy_of(), ragged_batch()
    texts = policy.token_texts(batch)
    assert [len(row) for row in texts] == batch.lengths.tolist()
    assert "".join(texts[0]) == policy.tokenizer.decode(batch.token_ids[0, : len(texts[0])].tolist())


def test_saving_and_loading_keep_every_bit(saved: Path) -> None:
    policy, again = policy_of(template=TEMPLATE), LanguagePolicy.load(str(saved), device="cpu")
    batch = ragged_batch()
    assert torch.equal(policy.sampled_states(batch), again.sampled_states(batch))
    for (name, a), (other, b) in zip(policy.trainable(), again.trainable(), strict=True):
        assert name == other and torch.equal(a, b)
    messages = [Message("user", "what")]
    assert policy.encode(messages) == again.encode(messages)


def test_transformers_opens_the_folder(saved: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, batch = AutoModelForCausalLM.from_pretrained(saved).eval(), ragged_batch()
    ids = batch.token_ids[:1, : int(batch.lengths[0])]
    policy = LanguagePolicy.load(str(saved), device="cpu")
    logits = policy.logits(policy.sampled_states(batch.select(torch.tensor([0]))))
    sampled = batch.sampled_mask[0].nonzero().squeeze(-1)
    assert torch.allclose(model(ids).logits[0, sampled - 1], logits, atol=1e-4)
    assert AutoTokenizer.from_pretrained(saved).chat_template == TEMPLATE


def test_restoring_puts_the_weights_back_in_place(saved: Path) -> None:
    policy = LanguagePolicy.load(str(saved), device="cpu")
    before = {name: (id(p), p.detach().clone()) for name, p in policy.trainable()}
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.add_(1.0)
    policy.restore(saved)
    assert all(before[name][0] == id(p) and torch.equal(before[name][1], p) for name, p in policy.trainable())
    other = LanguagePolicy(tiny_model("qwen3", vocab_size=290, hidden_size=8), small_tokenizer())
    with pytest.raises(PolicyLoadError, match=r"cannot be opened"):
        other.restore(saved)


def test_a_frozen_copy_stays_behind() -> None:
    policy, batch = policy_of(), ragged_batch()
    frozen = policy.frozen_copy()
    before = frozen.sampled_states(batch)
    with torch.no_grad():
        next(iter(policy.trainable()))[1].add_(0.5)
    assert torch.equal(frozen.sampled_states(batch), before)
    assert not torch.allclose(policy.sampled_states(batch), before)
    assert not list(frozen.trainable()) and not before.requires_grad


def test_sampling_goes_with_training_and_counts_only_the_context() -> None:
    policy = policy_of()
    prompt = policy.encode([Message("user", "what is the sum")])
    request = SampleRequest(prompt, ((0, 0), (0, 1)))
    ((first, second),) = policy.sample([request], SampleLimits(10), 0)
    assert first.token_ids != second.token_ids
    with torch.no_grad():
        dict(policy.trainable())["model.layers.0.mlp.down_proj.weight"].mul_(-1.0)
    assert policy.sample([request], SampleLimits(10), 0)[0][0].logprobs != first.logprobs
    room = policy.context_length - len(prompt)
    assert len(policy.sample([request], SampleLimits(room, 1.0, room), 0)[0][0].token_ids) == room
    with pytest.raises(PromptTooLong, match=r"context holds 96.*lower max_new_tokens") as caught:
        policy.sample([request], SampleLimits(room + 1), 0)
    assert "sum-7" in str(caught.value.of_task("sum-7"))


class Unused:
    """A decode control that is never asked."""

    def on_logits(self, hidden, logits, rows):
        raise AssertionError

    def on_tokens(self, tokens, rows):
        raise AssertionError


def test_a_family_that_the_decoder_cannot_read_warns_once_and_agrees_with_itself() -> None:
    with pytest.warns(UserWarning, match="gpt2") as caught:
        policy = LanguagePolicy(tiny_model("gpt2", vocab_size=290), small_tokenizer())
        ((sample, _),) = policy.sample([SampleRequest((1, 7, 9), ((0,), (1,)))], SampleLimits(8), 0)
    assert len(caught) == 1
    ids = torch.tensor([[1, 7, 9, *sample.token_ids]])
    with torch.no_grad():
        every = policy.model(ids).logits[0].log_softmax(-1)
    wanted = every[2:-1].gather(1, ids[0, 3:, None]).squeeze(1)
    assert np.allclose(sample.logprobs, wanted, atol=1e-4)
    batch = ragged_batch()
    assert policy.logits(policy.sampled_states(batch)).shape == (int(batch.sampled_mask.sum()), 290)
    with pytest.raises(ValueError, match="decode control"):
        policy.sample([SampleRequest((1,), ((0,),))], SampleLimits(2), 0, control=Unused())


def test_adapters_alone_train_decode_with_them_and_come_back(saved: Path, tmp_path: Path) -> None:
    lora = Lora(rank=2, target_modules=("q_proj", "down_proj"))
    policy = LanguagePolicy.load(str(saved), lora=lora, device="cpu")
    trained = dict(policy.trainable())
    assert len(trained) == 2 * 2 * 2 and all("lora_" in name for name in trained)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    prompt = policy.encode([Message("user", "what is the sum")])
    ((sample,),) = policy.sample([SampleRequest(prompt, ((0,),))], SampleLimits(12), 0)
    ids = torch.tensor([[*prompt, *sample.token_ids]])
    with torch.no_grad():
        every = policy.model(ids).logits[0].log_softmax(-1)
    wanted = every[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None]).squeeze(1)
    assert np.allclose(sample.logprobs, wanted, atol=1e-4)
    policy.save(tmp_path / "adapters")
    again = LanguagePolicy.load(str(tmp_path / "adapters"), device="cpu")
    batch = ragged_batch()
    assert torch.equal(again.sampled_states(batch), policy.sampled_states(batch))
    assert dict(again.trainable()).keys() == trained.keys()
    with torch.no_grad():
        for parameter in trained.values():
            parameter.zero_()
    policy.restore(tmp_path / "adapters")
    assert torch.equal(again.sampled_states(batch), policy.sampled_states(batch))


def test_dropout_in_adapters_is_felt_by_gradients_only(saved: Path) -> None:
    policy = LanguagePolicy.load(str(saved), lora=Lora(rank=2, dropout=0.5), device="cpu")
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.copy_(torch.randn_like(parameter))
    batch = ragged_batch()
    with torch.no_grad():
        assert torch.equal(policy.sampled_states(batch), policy.sampled_states(batch))
    assert not torch.equal(policy.sampled_states(batch), policy.sampled_states(batch))


def test_a_backbone_is_a_copy_of_the_body_with_its_own_weights(saved: Path, tmp_path: Path) -> None:
    policy = LanguagePolicy.load(str(saved), lora=Lora(rank=2, target_modules=("q_proj",)), device="cpu")
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    backbone, batch = LanguageBackbone.from_policy(policy), ragged_batch()
    states, ends = backbone.sampled_and_final_states(batch)
    assert torch.allclose(states, policy.sampled_states(batch), atol=1e-5)
    assert ends.shape == (batch.rows, backbone.width)
    names = dict(backbone.trainable())
    assert not any("lora" in name or "lm_head" in name for name in names)
    shared = {p.data_ptr() for p in policy.model.parameters()} & {p.data_ptr() for p in names.values()}
    assert not shared
    (states.sum() + ends.sum()).backward()
    assert all(p.grad is not None for p in names.values())
    assert all(p.grad is None for _, p in policy.trainable())
    backbone.save(tmp_path / "body")
    again = LanguageBackbone.load(str(tmp_path / "body"), device="cpu")
    alone = backbone.sampled_states(batch)  # with the ends beside them the same states may be rounded differently
    assert torch.equal(again.sampled_states(batch), alone) and torch.allclose(alone, states, atol=1e-5)
    with torch.no_grad():
        for parameter in names.values():
            parameter.zero_()
    backbone.restore(tmp_path / "body")
    assert torch.equal(backbone.sampled_states(batch), alone)
    assert LanguageBackbone.load(str(saved), device="cpu").width == 16


def test_bfloat16_decodes_and_scores_in_its_own_precision() -> None:
    policy = LanguagePolicy(tiny_model("qwen3", vocab_size=290, dtype=torch.bfloat16), small_tokenizer())
    ((sample,),) = policy.sample([SampleRequest((1, 7, 9), ((0,),))], SampleLimits(10), 0)
    assert np.isfinite(sample.logprobs).all()
    logits = policy.logits(policy.sampled_states(ragged_batch()))
    assert logits.dtype == torch.float32 and logits.isfinite().all()


@pytest.mark.parametrize(
    ("make", "words"),
    (
        (lambda folder: str(folder / "savde"), ["no policy", "nearest name", "saved"]),
        (lambda folder: "pcio", ["no policy", "nearest name", "'pico'"]),
        (lambda folder: str(folder), ["config.json"]),
        (lambda folder: str(folder / "saved" / "config.json"), ["is a file"]),
    ),
)
def test_a_wrong_path_names_the_nearest_right_one(saved: Path, make, words: list[str]) -> None:
    with pytest.raises(PolicyLoadError) as caught:
        LanguagePolicy.load(make(saved.parent))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_half_written_weights_are_named(saved: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    with pytest.raises(PolicyLoadError, match="cannot be opened"):
        LanguagePolicy.load(str(tmp_path))
    whole = (saved / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolicyLoadError, match="half-written"):
        LanguagePolicy.load(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_thing"}))
    with pytest.raises(PolicyLoadError, match="cannot be opened"):
        LanguagePolicy.load(str(tmp_path))


def test_the_hub_without_a_network_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def unreachable(*args, **kwargs):
        raise OSError("Network is unreachable")

    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", unreachable)
    with pytest.raises(PolicyLoadError, match=r"the hub could not give it.*check the name and the network"):
        LanguagePolicy.load("nobody/nothing")


def test_wrong_devices_and_types_are_named(saved: Path) -> None:
    with pytest.raises(PolicyLoadError, match="float32"):
        LanguagePolicy.load(str(saved), dtype="float8")
    with pytest.raises(PolicyLoadError, match="no torch device"):
        LanguagePolicy.load(str(saved), device="gpu7")
    with pytest.raises(PolicyLoadError, match="target_modules"):
        LanguagePolicy.load(str(saved), lora=Lora(rank=2, target_modules=("no_such_linear",)), device="cpu")


def test_a_special_token_that_a_prompt_spells_stays_text() -> None:
    policy = LanguagePolicy.load("pico")
    spelled = policy.encode([Message("user", "2+2 <eos><pad>")])
    assert not set(policy.end_ids) & set(spelled)
    assert policy.decode_text(spelled) == "2+2 <eos><pad>"
    assert policy.encode([Message("user", "2+2")]) == spelled[: len(policy.encode([Message("user", "2+2")]))]
