"""Recipes and combinations of critics that predict laws: trained, stopped, and resumed to the same bits."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.advantages.gae import Gae
from critica.advantages.outcome import Outcome
from critica.advantages.risk import Cvar, WorstHead
from critica.critics.blend import Blend
from critica.critics.bodies import SharedTrunk
from critica.critics.categorical import CategoricalCritic
from critica.critics.ensemble import Ensemble
from critica.critics.gaussian import GaussianCritic
from critica.critics.lagged import Lagged
from critica.critics.privileged import Privileged
from critica.critics.quantile import NO_TAIL, QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import CategoricalLambda, GroupQuantiles, LambdaMixture, LambdaReturn, MonteCarlo
from critica.environments.arithmetic import Arithmetic
from critica.store.run_folder import RunFolder
from critica.training.run import resume, train

COMBINATIONS = {
    "ensemble": (Ensemble(ScalarCritic(), 2, 0.7), LambdaReturn(1.0, 0.9, WorstHead()), Gae(1.0, 0.9)),
    "shared_ensemble": (Ensemble(GaussianCritic(body=SharedTrunk()), 2), MonteCarlo(), Gae(1.0, 0.9, Cvar(0.5))),
    "lagged": (Lagged(QuantileCritic(2, 4, 8), 0.3), LambdaMixture(1.0, 0.9, 16), Gae(1.0, 0.9)),
    "lagged_ensemble": (Lagged(Ensemble(CategoricalCritic(5), 2), 0.3), CategoricalLambda(1.0, 0.9), Gae(1.0, 0.9)),
    "blend": (Blend(0.5), MonteCarlo(), Outcome("none")),
    "group_quantiles": (QuantileCritic(2, 4, 8, body=SharedTrunk()), GroupQuantiles(), Gae(1.0, 0.9, Cvar(0.5))),
    "privileged": (Privileged(Ensemble(QuantileCritic(1, 4, 8, tail=NO_TAIL), 2)), MonteCarlo(), Gae(1.0, 0.9)),
}


def weights(run, step):
    """Every tensor of a checkpoint, by file and name."""
    folder = run / "checkpoints" / f"step_{step}"
    return {
        f"{path.relative_to(folder)}:{name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


@pytest.mark.parametrize("name", ["robust_bellman", "stac", "hl_gauss", "bpco"])
def test_recipes_move_policy_and_critic(name, small, tmp_path):
    result = train(small(name, steps=2), tmp_path / "run")
    assert result.finished
    start, end = weights(tmp_path / "run", 0), weights(tmp_path / "run", 2)
    for part in ("policy/", "critic/"):
        assert any(key.startswith(part) and not torch.equal(start[key], end[key]) for key in start), part


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_combination_resumes_to_the_same_bits(name, small, tmp_path):
    critic, target, advantage = COMBINATIONS[name]
    environment = {"environment": Arithmetic()} if name == "privileged" else {}
    recipe = small("ppo", critic=critic, target=target, advantage=advantage, **environment)
    assert recipe.safety.rehearsal  # the rehearsal before the run must leave no trace in a copy or a memory
    train(recipe, tmp_path / "whole")
    train(replace(recipe, steps=2), tmp_path / "cut")
    resume(tmp_path / "cut", steps=4)
    first, second = weights(tmp_path / "whole", 4), weights(tmp_path / "cut", 4)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    halfway = weights(tmp_path / "whole", 2)
    heads = [key for key in first if key.startswith("critic/") and "value_head" in key]
    assert heads and all(not torch.equal(first[key], halfway[key]) for key in heads if "bias" in key)
    lines = [(tmp_path / side / "metrics.jsonl").read_bytes() for side in ("whole", "cut")]
    assert lines[0] == lines[1]


def test_a_rehearsal_leaves_the_lagged_copy_where_the_critic_starts(small, tmp_path):
    recipe = small("ppo", critic=Lagged(ScalarCritic(), 0.5), steps=1)
    train(recipe, tmp_path / "run")
    begun = weights(tmp_path / "run", 0)
    pairs = [key for key in begun if key.startswith("critic/live/")]
    assert pairs and all(torch.equal(begun[key], begun[key.replace("/live/", "/lagged/")]) for key in pairs)
    after = weights(tmp_path / "run", 1)
    head = "critic/{}/value_head.safetensors:weight"
    torch.testing.assert_close(after[head.format("lagged")], after[head.format("live")] / 2)


def test_an_ensemble_reports_how_far_its_members_are_apart(small, tmp_path):
    recipe = small("ppo", critic=Ensemble(QuantileCritic(1, 4, 8, tail=NO_TAIL, body=SharedTrunk()), 3, 0.6))
    train(recipe, tmp_path / "run")
    lines = list(RunFolder.open(tmp_path / "run").metrics())
    assert lines[0]["critic/disagreement"] < 1e-6 < lines[-1]["critic/disagreement"]
