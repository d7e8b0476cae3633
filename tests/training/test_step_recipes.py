"""Recipes with critics of steps and chunks, end to end: who learns when, and a stopped run goes on to the same bits."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.recipes.base import Checkpoints
from critica.store.run_folder import RunFolder
from critica.training.run import resume, train


def weights(run, step):
    """Every tensor of a checkpoint, by file and name."""
    folder = run / "checkpoints" / f"step_{step}"
    return {
        f"{path.relative_to(folder)}:{name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def moved(run, first, last, who):
    """Whether any tensor of this owner differs between two checkpoints."""
    start, end = weights(run, first), weights(run, last)
    names = [name for name in start if name.startswith(f"{who}/")]
    assert names
    return any(not torch.equal(start[name], end[name]) for name in names)


@pytest.mark.parametrize("name", ["direct_advantage", "dqc", "sentence_reward", "align_distil"])
def test_a_stopped_run_goes_on_to_the_same_bits(name, small, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(small(name), whole)
    train(small(name, steps=2), cut)
    resume(cut, steps=4)
    first, second = weights(whole, 4), weights(cut, 4)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert moved(whole, 2, 4, "policy")


def test_the_critic_first_and_then_the_policy(small, tmp_path):
    recipe = small("direct_advantage", checkpoint=Checkpoints(every=2, keep=5))
    recipe = replace(recipe, learner=replace(recipe.learner, critic_warmup_steps=2))
    train(recipe, tmp_path / "run")
    assert moved(tmp_path / "run", 0, 2, "critic") and not moved(tmp_path / "run", 0, 2, "policy")
    assert moved(tmp_path / "run", 2, 4, "policy") and not moved(tmp_path / "run", 2, 4, "critic")
    lines = list(RunFolder.open(tmp_path / "run").metrics())
    assert [math.isnan(line.get("loss/log_ratio")) for line in lines] == [True, True, False, False]
    assert [math.isnan(line.get("loss/value")) for line in lines] == [False, False, True, True]
