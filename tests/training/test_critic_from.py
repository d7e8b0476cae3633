"""A run that starts from a fitted critic."""

import torch
from safetensors.torch import load_file

from critica.store.run_folder import RunFolder
from critica.training.critic_fit import FitPlan, fit_critic
from critica.training.run import train


def tensors(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    files = sorted(folder.rglob("*.safetensors"))
    return {f"{file.relative_to(folder)}:{name}": value for file in files for name, value in load_file(file).items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_starts_from_a_fitted_critic_and_says_so(small, tmp_path):
    train(small("ppo"), tmp_path / "first")
    folder = fit_critic(tmp_path / "first", tmp_path / "fit", plan=FitPlan(4, 3, 2, 9, 0.4))
    said = []
    train(small("ppo", steps=1), tmp_path / "second", notify=said.append, critic_from=str(folder.path))
    begun = {k.partition(":")[2]: v for k, v in tensors(tmp_path / "second", 0).items() if k.startswith("critic/")}
    fitted = {k: v for p in folder.weights.glob("*.safetensors") for k, v in load_file(p).items()}
    assert same(begun, fitted)
    assert RunFolder.open(tmp_path / "second").manifest.critic_from == str(folder.path)
    assert any("fitted beside the policy" in text for text in said)
