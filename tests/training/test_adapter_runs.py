"""Runs whose policy and critic are adapters over one base: they learn, resume to the same bits, and export."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.critics.bodies import LoraBody
from critica.policies.part import LocalPolicy, Lora
from critica.policies.template_check import UnfitTemplate
from critica.training.plan import plan
from critica.training.run import resume, train

ALL = ("q_proj", "v_proj", "down_proj")


def adapted(recipe, tiny_folder, **more):
    policy = LocalPolicy(str(tiny_folder), Lora(rank=2, alpha=4, target_modules=ALL), **more)
    return replace(recipe, policy=policy, critic=replace(recipe.critic, body=LoraBody(2, 4, ALL)))


def tensors(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    return {
        f"{path.relative_to(folder)}:{name}": tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def test_both_learn_and_a_resumed_run_ends_at_the_same_bits(small, tiny_folder, tmp_path) -> None:
    recipe = adapted(small("ppo", steps=4), tiny_folder)
    train(recipe, tmp_path / "whole")
    train(replace(recipe, steps=2), tmp_path / "parts")
    resume(tmp_path / "parts", steps=4)
    whole, parts, start = tensors(tmp_path / "whole", 4), tensors(tmp_path / "parts", 4), tensors(tmp_path / "whole", 2)
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    moved = {name for name in whole if not torch.equal(whole[name], start[name])}
    assert any(name.startswith("policy/") for name in moved)
    assert any(name.startswith("critic/") and "lora_" in name for name in moved)
    base_sized = [name for name in whole if "lora_" not in name and whole[name].numel() > 1000]
    assert not [name for name in base_sized if "optimizer" not in name], "the base is saved nowhere"


def test_the_plan_counts_adapters_and_one_base(small, tiny_folder) -> None:
    recipe = small("ppo")
    full, light = plan(recipe), plan(adapted(recipe, tiny_folder))
    assert light.critic_parameters < full.critic_parameters / 4
    assert light.memory_mib < full.memory_mib


def test_a_critics_adapters_on_weights_that_are_trained_are_refused(small, tmp_path) -> None:
    recipe = small("ppo")
    with pytest.raises(ValueError, match=r"policy\.lora\.rank=16"):
        train(replace(recipe, critic=replace(recipe.critic, body=LoraBody())), tmp_path / "run")


def test_a_stop_that_is_a_special_token_is_refused_before_training(small, tmp_path) -> None:
    recipe = small("grpo")
    with pytest.raises(UnfitTemplate, match="<eos>"):
        train(replace(recipe, sampling=replace(recipe.sampling, stop=("<eos>",))), tmp_path / "run")


def test_the_system_prompt_is_read_before_every_task(small, tiny_folder, tmp_path) -> None:
    import pyarrow.parquet as pq

    recipe = replace(small("grpo", steps=1), policy=LocalPolicy(str(tiny_folder), system="Count well."))
    train(recipe, tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "rollouts" / "step_000001.parquet")
    for row in table.select(["tokens", "sampled_mask"]).to_pylist():
        context = "".join(t for t, sampled in zip(row["tokens"], row["sampled_mask"], strict=True) if not sampled)
        assert context.startswith("Count well.\n")
