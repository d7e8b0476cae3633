"""Recipes whose critics count: they train, and a stopped run with memory resumes to the same bits."""

import json

import pytest
import torch
from safetensors.torch import load_file

from critica.store.run_folder import RunFolder
from critica.training.run import resume, train

NAMES = ["beta_baseline", "tempo", "numca", "hista", "v0", "v0_5"]


def weights(run, step):
    return load_file(run / "checkpoints" / f"step_{step}" / "policy" / "model.safetensors")


def memory(run, step):
    return json.loads((run / "checkpoints" / f"step_{step}" / "progress.json").read_text()).get("critic")


@pytest.mark.parametrize("name", NAMES)
def test_a_counted_recipe_moves_the_policy_and_resumes_with_its_memory(name, small, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(small(name), whole)
    train(small(name, steps=2), cut)
    resume(cut, steps=4)
    start, end, again = weights(whole, 2), weights(whole, 4), weights(cut, 4)
    assert any(not torch.equal(start[key], end[key]) for key in start)
    assert all(torch.equal(end[key], again[key]) for key in end)
    assert memory(whole, 4) == memory(cut, 4)
    assert RunFolder.open(whole).rollouts(4).equals(RunFolder.open(cut).rollouts(4))


@pytest.mark.parametrize("name", ["beta_baseline", "numca", "v0"])
def test_memory_grows_with_what_was_told(name, small, tmp_path):
    train(small(name), tmp_path / "run")
    first, last = (memory(tmp_path / "run", step) for step in (2, 4))
    first, last = (state.get("tallies", state) for state in (first, last))
    assert first["clock"] == 2 and last["clock"] == 4
    assert len(last["named"]) > len(first["named"]) > 0
    assert first["overall"][0] > 20  # 24 outcomes, hardly faded; the rehearsal's are forgotten again
