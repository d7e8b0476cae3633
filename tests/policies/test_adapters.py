"""Adapters over one base: twins that stay behind, critics beside policies, and folders that other libraries open."""

import json
from pathlib import Path

import pytest
import torch

from critica.cli.main import main
from critica.policies.adapters import base_weights
from critica.policies.backbone import LanguageBackbone
from critica.policies.language_model import LanguagePolicy, PolicyLoadError
from critica.policies.part import Lora
from critica.training.exporting import export_policy
from policies.policies_fixtures import ragged_batch, small_tokenizer, tiny_model

LORA = Lora(rank=3, alpha=6, target_modules=("q_proj", "v_proj", "down_proj"))
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    LanguagePolicy(tiny_model("qwen3", vocab_size=290), small_tokenizer("{{ messages }}")).save(folder)
    return folder


def adapted(base: Path, seed: int = 0) -> LanguagePolicy:
    """A policy whose adapters have learned something."""
    policy = LanguagePolicy.load(str(base), lora=LORA, device="cpu")
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.copy_(torch.randn(weight.shape, generator=chance) * 0.3)
    return policy


def storages(weights) -> set[int]:
    return {weight.untyped_storage().data_ptr() for weight in weights}


def test_a_frozen_twin_shares_the_base_and_keeps_its_own_adapters(base: Path) -> None:
    policy, batch = adapted(base), ragged_batch()
    twin = policy.frozen_copy()
    assert storages(base_weights(policy.model)) == storages(base_weights(twin.model))
    own = storages(twin.model.parameters()) - storages(policy.model.parameters())
    assert len(own) == len(list(policy.trainable())), "the adapters, and nothing else, are held twice"
    before = twin.sampled_states(batch)
    assert torch.equal(before, policy.sampled_states(batch)) and not list(twin.trainable())
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.add_(0.5)
    assert torch.equal(twin.sampled_states(batch), before)
    assert not torch.allclose(policy.sampled_states(batch), before)


def test_the_reference_of_fresh_adapters_is_the_base_itself(base: Path) -> None:
    policy, batch = LanguagePolicy.load(str(base), lora=LORA, device="cpu"), ragged_batch()
    reference = policy.frozen_copy()
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.add_(0.3)
    bare = LanguagePolicy.load(str(base), device="cpu")
    assert torch.allclose(reference.sampled_states(batch), bare.sampled_states(batch), atol=1e-6)
    with policy.model.disable_adapter():
        assert torch.allclose(policy.sampled_states(batch), bare.sampled_states(batch), atol=1e-6)


def test_twins_of_twins_do_not_share_adapters(base: Path, tmp_path: Path) -> None:
    first, other, batch = adapted(base), adapted(base, 7), ragged_batch()
    twin = first.frozen_copy()
    again = twin.frozen_copy()
    other.save(tmp_path / "other")
    again.restore(tmp_path / "other")
    assert torch.equal(twin.sampled_states(batch), first.sampled_states(batch))
    assert torch.allclose(again.sampled_states(batch), other.sampled_states(batch), atol=1e-6)


def test_a_critics_adapters_begin_at_the_base_that_they_share_with_the_policy(base: Path) -> None:
    lora = Lora(rank=3, alpha=6, target_modules=ALL)
    policy, batch = LanguagePolicy.load(str(base), lora=lora, device="cpu"), ragged_batch()
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.add_(0.1)
    body = LanguageBackbone.adapted(policy, Lora(rank=2, alpha=4, target_modules=ALL))
    before = {name: weight.detach().clone() for name, weight in policy.model.named_parameters()}
    names = [name for name, _ in body.trainable()]
    assert (
        names and all("lora_" in name for name in names) and not any("lm_head" in n for n, _ in body.named_parameters())
    )
    assert storages(base_weights(body.model)) <= storages(policy.model.parameters())
    bare = LanguagePolicy.load(str(base), device="cpu")
    assert torch.allclose(body.sampled_states(batch), bare.sampled_states(batch), atol=1e-6)
    body.sampled_states(batch).sum().backward()
    with torch.no_grad():
        for _, weight in body.trainable():
            weight.add_(0.2)
    assert not torch.allclose(body.sampled_states(batch), bare.sampled_states(batch), atol=1e-3)
    assert all(
        torch.equal(weight, before[name]) and weight.grad is None for name, weight in policy.model.named_parameters()
    )


def test_a_critics_adapters_come_back(base: Path, tmp_path: Path) -> None:
    policy, batch = LanguagePolicy.load(str(base), lora=LORA, device="cpu"), ragged_batch()
    body, fresh = (LanguageBackbone.adapted(policy, LORA) for _ in range(2))
    with torch.no_grad():
        for _, weight in body.trainable():
            weight.add_(0.2)
    body.save(tmp_path / "body")
    saved = sorted(path.name for path in (tmp_path / "body").iterdir())
    assert "adapter_model.safetensors" in saved and "model.safetensors" not in saved
    fresh.restore(tmp_path / "body")
    assert torch.equal(body.sampled_states(batch), fresh.sampled_states(batch))


def plain_logits(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


@pytest.mark.parametrize("merge", (True, False))
def test_the_exported_folder_is_the_policy_for_transformers_and_peft(base: Path, tmp_path: Path, merge: bool) -> None:
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    policy, batch = adapted(base), ragged_batch().select(torch.tensor([0]))
    policy.save(tmp_path / "policy")
    out = tmp_path / "out"
    made = export_policy(str(tmp_path / "policy"), out, merge)
    sampled = batch.sampled_mask[0].nonzero().squeeze(-1)
    ours = policy.logits(policy.sampled_states(batch)).detach()
    if merge:
        assert not (out / "adapter_config.json").exists() and (out / "model.safetensors").is_file()
        model = AutoModelForCausalLM.from_pretrained(out)
    else:
        said = json.loads((out / "adapter_config.json").read_text())
        assert said["peft_type"] == "LORA" and said["task_type"] == "CAUSAL_LM" and said["inference_mode"] is True
        assert (said["r"], said["lora_alpha"], said["target_modules"]) == (3, 6, ["down_proj", "q_proj", "v_proj"])
        assert said["base_model_name_or_path"] == str(base.absolute()) == made.base
        assert PeftConfig.from_pretrained(out).r == 3
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out)
    theirs = plain_logits(model, batch.token_ids)[0, sampled - 1]
    bare = plain_logits(AutoModelForCausalLM.from_pretrained(base), batch.token_ids)[0, sampled - 1]
    assert torch.allclose(theirs, ours, atol=1e-4) and not torch.allclose(bare, ours, atol=1e-2)
    assert made.adapters is not merge and made.largest_gap < 1e-4
    assert AutoTokenizer.from_pretrained(out).chat_template == "{{ messages }}"


def test_a_base_named_from_another_folder_is_found(base: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(base.parent)
    LanguagePolicy.load("model", lora=LORA, device="cpu").save(tmp_path / "policy")
    assert json.loads((tmp_path / "policy" / "adapter_config.json").read_text())["base_model_name_or_path"] == "model"
    export_policy(str(tmp_path / "policy"), tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    assert LanguagePolicy.load("out", device="cpu").width == 16


def test_the_command_writes_whole_weights_in_another_dtype_and_says_what_is_wrong(base, tmp_path, capsys) -> None:
    from transformers import AutoModelForCausalLM

    adapted(base).save(tmp_path / "policy")
    policy, out = str(tmp_path / "policy"), str(tmp_path / "out")
    assert main(["policy", "export", policy, "--to", out, "--dtype", "bfloat16"]) != 0
    assert "--merge" in capsys.readouterr().err and not Path(out).exists()
    assert main(["policy", "export", policy, "--to", out, "--merge", "--dtype", "bfloat16"]) == 0
    assert "whole weights in bfloat16" in capsys.readouterr().out
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16
    assert main(["policy", "export", policy, "--to", out]) == 2
    assert main(["policy", "export", str(base), "--to", str(tmp_path / "no"), "--merge"]) != 0
    assert "no adapters" in capsys.readouterr().err and not (tmp_path / "no").exists()
    with pytest.raises(PolicyLoadError, match="dtype"):
        export_policy(str(base), tmp_path / "no", dtype="int8")
