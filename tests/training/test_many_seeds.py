"""Several seeds of one recipe: runs that equal single ones, picked up where they stood, told with intervals."""

import statistics

import pytest
from safetensors.torch import load_file

from critica.evaluation.compare import compare
from critica.recipes.base import HeldOut
from critica.store.evaluations import load_result
from critica.training.many_seeds import OtherRun, train_seeds
from critica.training.run import train


def policy(run):
    return load_file(run / "checkpoints" / "step_2" / "policy" / "model.safetensors")


def test_each_seed_is_the_run_that_it_would_be_alone_and_nothing_is_done_twice(small, tmp_path):
    recipe = small("grpo", steps=2, seed=5, held_out=HeldOut(prompts=3))
    results = list(train_seeds(recipe, tmp_path / "all", 2))
    assert [result.run.name for result in results] == ["seed-5", "seed-6"]
    train(small("grpo", steps=2, seed=6, held_out=HeldOut(prompts=3)), tmp_path / "alone")
    one, other = policy(tmp_path / "alone"), policy(results[1].run)
    assert all(one[name].equal(other[name]) for name in one)
    assert not all(one[name].equal(policy(results[0].run)[name]) for name in one)
    stamp = (results[0].run / "metrics.jsonl").stat().st_mtime_ns
    said = []
    again = list(train_seeds(recipe, tmp_path / "all", 3, notify=said.append))
    assert [result.run.name for result in again] == ["seed-5", "seed-6", "seed-7"]
    assert (results[0].run / "metrics.jsonl").stat().st_mtime_ns == stamp
    assert sum("is done" in line for line in said) == 2
    found = compare([load_result(result.run) for result in again])
    ends = [row.last for row in found.curves if row.metric == "reward/told"]
    (told,) = (row for row in found.seed_curves if row.metric == "reward/told")
    assert told.last.estimate == pytest.approx(statistics.mean(ends)) and told.seeds == (5, 6, 7)
    assert {row.evaluation for row in found.seeds} >= {"after-greedy", "before-greedy"}


def test_a_folder_of_another_config_is_refused_before_anything_is_trained(small, tmp_path):
    list(train_seeds(small("grpo", steps=2, seed=6), tmp_path, 1))
    with pytest.raises(OtherRun, match="seed-6"):
        list(train_seeds(small("grpo", steps=3, seed=5), tmp_path, 2))
    assert not (tmp_path / "seed-5").exists()
