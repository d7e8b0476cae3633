"""Preferences from a file: nothing is sampled, the two answers are the recorded ones, and the policy comes to agree."""

import json
import math
from dataclasses import replace

import pytest

from critica.environments.base import EnvironmentProblem
from critica.environments.digit_sum import DigitSum
from critica.environments.files import TaskFile
from critica.objectives.pair_rules import Logistic
from critica.objectives.preference import PairLoss
from critica.recipes.base import Sampling
from critica.rewards.noise import NoNoise
from critica.rewards.unasked import Unasked
from critica.rollout.given_pairs import GivenPairs
from critica.store.run_folder import RunFolder
from critica.training.run import train


@pytest.fixture
def pairs(tmp_path):
    """Sums, with the right answer preferred, and no column that says which answer is right."""
    file = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"{a}+{b}=", "chosen": str(a + b), "rejected": f"{a + b + 1}!", "kind": "sum"}
        for a in range(4)
        for b in range(6)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def recorded(small, file, steps, **changes):
    return small(
        "dpo", environment=TaskFile(str(file)), protocol=GivenPairs(), reward=Unasked(), noise=NoNoise(),
        sampling=Sampling(4, 2, 1.0, 6), steps=steps, **changes,
    )  # fmt: skip


def test_a_file_of_preferences_is_learned_from(small, pairs, tmp_path):
    recipe = recorded(small, pairs, 6, objective=PairLoss(Logistic(0.5)))
    train(replace(recipe, held_out=replace(recipe.held_out, prompts=0)), tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    lines = list(folder.metrics())
    assert lines[0].get("loss/pairs") == pytest.approx(math.log(2), abs=1e-6)  # policy and reference still agree
    assert all(line.get("policy/pairs") == 4 for line in lines)
    assert lines[-1].get("policy/pair_accuracy") == 1.0 and lines[-1].get("loss/pairs") < 0.5
    rows = folder.rollouts(1).to_pylist()
    for row in rows:
        total = sum(map(int, row["prompt"].rstrip("=").split("+")))
        said = {1.0: str(total), 0.0: f"{total + 1}!"}
        assert row["text"] == said[row["reward_told"]]
    assert sorted(row["reward_told"] for row in rows) == [0.0] * 4 + [1.0] * 4


def test_a_column_that_is_not_there_is_named(small, pairs, tmp_path):
    recipe = recorded(small, pairs, 1)
    recipe = replace(recipe, protocol=GivenPairs("better", "worse"), held_out=replace(recipe.held_out, prompts=0))
    with pytest.raises(EnvironmentProblem, match="no text 'better'"):
        train(recipe, tmp_path / "run")


def test_two_columns_are_two():
    with pytest.raises(ValueError, match="two columns"):
        GivenPairs("text", "text")


def test_who_asks_nobody_is_told_so():
    from critica.records.supervision import Failed
    from critica.records.words import Message, Task
    from critica.rewards.base import ScoreRequest

    source = Unasked().build(DigitSum().build(0))
    (verdict,) = source.verdicts([ScoreRequest(Task("t", "", (Message("user", "?"),), ""), "t", "a")])
    assert isinstance(verdict.outcomes[0], Failed) and "given_pairs" in verdict.outcomes[0].error
