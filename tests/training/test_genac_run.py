"""GenAC as a run: two models learn, and a stopped run goes on to the same bits, the second optimizer's included."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.critics.blend import Blend
from critica.critics.counted import GroupMean
from critica.critics.generative import GenerativeCritic
from critica.critics.language import StatedValue
from critica.recipes.catalogue import RECIPES
from critica.store.run_folder import RunFolder
from critica.training.assemble import assemble
from critica.training.plan import plan
from critica.training.run import resume, train

CRITIC = StatedValue(GenerativeCritic(samples=2, judge_after="5", max_new_tokens=8, format_steps=2))


def test_a_stopped_run_goes_on_to_the_same_bits(small, tmp_path):
    recipe = small("genac", critic=CRITIC)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(recipe, whole)
    train(replace(recipe, steps=2), cut)
    resume(cut, steps=4)
    start, end, again = (run / "checkpoints" / f"step_{n}" for run, n in ((whole, 2), (whole, 4), (cut, 4)))
    names = ("policy/model.safetensors", "critic/model.safetensors", "critic_optimizer.safetensors", "progress.json")
    for name in names:
        assert (end / name).read_bytes() == (again / name).read_bytes(), name
    assert RunFolder.open(whole).rollouts(4).equals(RunFolder.open(cut).rollouts(4))
    for model in ("policy", "critic"):
        before, after = (load_file(folder / model / "model.safetensors") for folder in (start, end))
        assert any(not torch.equal(before[key], after[key]) for key in before), model
    memory = json.loads((end / "progress.json").read_text())["critic"]
    assert memory["lessons"] == 4 and memory["version"] == 4  # the rehearsal's three lessons are forgotten
    assert len(memory["record"]["recent"]) == 48
    lines = list(RunFolder.open(whole).metrics())
    assert all(0 <= line["critic/unread_statements"] <= 1 for line in lines)
    assert all(line["critic/grad_norm"] > 0 for line in lines)


def test_warm_up_trains_the_writer_alone(small, tmp_path):
    recipe = small("genac", critic=CRITIC)
    train(replace(recipe, steps=1, learner=replace(recipe.learner, critic_warmup_steps=1)), tmp_path / "run")
    first, last = (tmp_path / "run" / "checkpoints" / f"step_{step}" for step in (0, 1))
    for model, moves in (("policy", False), ("critic", True)):
        before, after = (load_file(folder / model / "model.safetensors") for folder in (first, last))
        assert any(not torch.equal(before[key], after[key]) for key in before) is moves


def test_what_does_not_fit_is_refused_by_a_sentence(small):
    with pytest.raises(ValueError, match="cannot stand inside another critic"):
        assemble(small("genac", critic=Blend(0.5, CRITIC, GroupMean())))
    recipe = small("genac", critic=CRITIC)
    with pytest.raises(ValueError, match="one update"):
        assemble(replace(recipe, learner=replace(recipe.learner, critic_epochs=2)))


def test_the_plan_counts_the_second_model():
    with_writer, without = plan(RECIPES["genac"]), plan(RECIPES["grpo"])
    assert with_writer.critic_parameters == with_writer.policy_parameters and without.critic_parameters == 0
    assert with_writer.weights_mib == pytest.approx(2 * 4 * with_writer.policy_parameters / 2**20)
