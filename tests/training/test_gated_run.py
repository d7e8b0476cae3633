"""A run behind a gate: the loop tells the curriculum what the panel said, and a resumed run hears the same."""

from dataclasses import replace

import torch
from safetensors.torch import load_file

from critica.curricula.gated import GatedWarmup
from critica.store.run_folder import RunFolder
from critica.training.run import resume, train


def tensors(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    files = sorted(folder.rglob("*.safetensors"))
    return {f"{file.relative_to(folder)}:{name}": value for file in files for name, value in load_file(file).items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def gated(small, **changes):
    recipe = small("ppo", curriculum=GatedWarmup(quality=-1e9, window=2), **changes)
    return replace(recipe, learner=replace(recipe.learner, critic_warmup_steps=3))


def test_the_gate_hears_the_panel_and_a_resume_hears_the_same(small, tmp_path):
    train(gated(small, steps=5), tmp_path / "whole")
    states = {}
    for line in RunFolder.open(tmp_path / "whole").ledger():
        states.setdefault(line["step"], set()).add(line["reason"])
    assert [("critic_warmup" in states[step]) for step in range(1, 6)] == [True, True, False, False, False]
    train(gated(small, steps=1), tmp_path / "cut")
    resume(tmp_path / "cut", steps=5)
    assert same(tensors(tmp_path / "whole", 5), tensors(tmp_path / "cut", 5))
