"""Recipes of second readings, end to end: a stopped run goes on to the same bits."""

import pytest
import torch
from safetensors.torch import load_file

from critica.environments.arithmetic import Arithmetic
from critica.training.run import resume, train


def weights(run, step):
    """Every tensor of a checkpoint, by file and name."""
    folder = run / "checkpoints" / f"step_{step}"
    return {
        f"{path.relative_to(folder)}:{name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


@pytest.mark.parametrize("name", ["gcpo", "oisd", "gapd"])
def test_a_stopped_run_goes_on_to_the_same_bits(name, small, tmp_path):
    more = {"environment": Arithmetic()} if name == "gapd" else {}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(small(name, **more), whole)
    train(small(name, steps=2, **more), cut)
    resume(cut, steps=4)
    first, second = weights(whole, 4), weights(cut, 4)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    start = weights(whole, 2)
    assert any(key.startswith("policy/") and not torch.equal(first[key], start[key]) for key in start)
