"""Runs whose budget moves samples: unequal groups, books that balance, and the same bits after a stop."""

import json
from collections import Counter

import pytest
from safetensors.torch import load_file

from critica.critics import prompt_value
from critica.environments.files import TaskFile
from critica.recipes.base import Sampling
from critica.recipes.catalogue import PARTS
from critica.recipes.resolve import change_recipe
from critica.rollout.forecast_budgets import MixedGroups
from critica.rollout.until_certain import UntilCertain
from critica.store.audit import audit
from critica.store.run_folder import RunFolder
from critica.training.plan import spread_of
from critica.training.run import resume, train


def sizes(run, step):
    return sorted(Counter(RunFolder.open(run).rollouts(step, ["group"]).column("group").to_pylist()).values())


def recipes(small, folder):
    """Prompts that never come back, judged by their texts; and a short list of tasks, judged by their own record."""
    lines = (json.dumps({"prompt": f"say {number}", "answer": "b"}) for number in range(10))
    (folder / "tasks.jsonl").write_text("\n".join(lines) + "\n")
    few = TaskFile(str(folder / "tasks.jsonl"), max_new_tokens=6)
    beta = small("beta_baseline", environment=few, budget=MixedGroups(fewest=1))
    doubtful = UntilCertain(first=1, chunk=1, most=9, agreement=0.2, certainty=0.01)
    return {
        "v0_budget": small("v0_budget", sampling=Sampling(4, 4, 1.0, 6)),
        "v0_5_budget": small("v0_5_budget", sampling=Sampling(4, 4, 1.0, 6), budget=doubtful),
        "beta_baseline": beta,
    }


@pytest.mark.parametrize("name", ["v0_budget", "v0_5_budget", "beta_baseline"])
def test_unequal_groups_are_counted_and_resumed(name, small, tmp_path, monkeypatch):
    monkeypatch.setattr(prompt_value, "REVIEW_STEPS", 1)  # prompts are told apart from the second step on
    recipe = recipes(small, tmp_path)[name]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(recipe, whole)
    train(change_recipe(recipe, ["steps=2"], PARTS), cut)
    resume(cut, steps=4)
    for step in range(1, 5):
        assert RunFolder.open(whole).rollouts(step).equals(RunFolder.open(cut).rollouts(step))
    policy, again = (load_file(run / "checkpoints/step_4/policy/model.safetensors") for run in (whole, cut))
    assert all((policy[key] == again[key]).all() for key in policy)
    memory = [json.loads((run / "checkpoints/step_4/progress.json").read_text())["critic"] for run in (whole, cut)]
    assert memory[0] == memory[1]
    total = recipe.sampling.prompts_per_step * recipe.sampling.samples_per_prompt
    found = [sizes(whole, step) for step in range(1, 5)]
    assert all(len(step) == recipe.sampling.prompts_per_step and sum(step) <= total for step in found)
    assert any(len(set(step)) > 1 for step in found)
    if not recipe.budget.may_save:
        assert all(sum(step) == total for step in found)
    books = audit(RunFolder.open(whole))
    assert books.problems == () and books.samples.total == sum(map(sum, found))
    first, last = recipe.budget.bounds(recipe.sampling.samples_per_prompt)
    seen = [line.values for line in RunFolder.open(whole).metrics()]
    assert [(line["samples/fewest"], line["samples/most"]) for line in seen] == [(s[0], s[-1]) for s in found]
    assert all(first <= step[0] and step[-1] <= last for step in found)


def test_the_plan_says_how_samples_may_lie(small):
    assert spread_of(small("v0")) == "4"
    assert spread_of(small("v0_budget")) == "4 on average, 2 to 8 a prompt"  # two of three prompts give up two each
    assert spread_of(small("v0_5_budget")) == "4 on average at most, 2 to 8 a prompt"
