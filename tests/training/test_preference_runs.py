"""Recipes that compare siblings, end to end: a stopped run goes on to the same bits, and pairs are the told ones."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.objectives.pair_rules import Logistic
from critica.objectives.pair_weights import Tilt
from critica.objectives.preference import PairLoss
from critica.recipes.base import Sampling
from critica.recipes.catalogue import RECIPES
from critica.rewards.judge_ranking import JudgeRanking
from critica.rewards.noise import NoNoise
from critica.rewards.scripted_judge import ScriptedJudge
from critica.store.run_folder import RunFolder
from critica.training.plan import plan
from critica.training.run import resume, train

NAMES = ["gvpo", "inpo", "ce_u"]


def policy_at(run, step):
    return load_file(run / "checkpoints" / f"step_{step}" / "policy" / "model.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_run_goes_on_to_the_same_bits(name, small, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(small(name), whole)
    train(small(name, steps=2), cut)
    resume(cut, steps=4)
    first, second, start = policy_at(whole, 4), policy_at(cut, 4), policy_at(whole, 2)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], start[key]) for key in first)


def test_pairs_are_counted_from_what_was_told(small, tmp_path):
    """Of 4 answers k told right and 4 - k wrong make k (4 - k) pairs; micro-batches of one group each see them all."""
    recipe = small("dpo", steps=3)
    train(replace(recipe, learner=replace(recipe.learner, tokens_per_microbatch=1)), tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    for step, line in enumerate(folder.metrics(), 1):
        table = folder.rollouts(step)
        told = {}
        for row in table.to_pylist():
            told.setdefault(row["group"], []).append(row["reward_told"])
        pairs = sum(sum(x > y for x in group for y in group) for group in told.values())
        assert line.get("policy/pairs") == pairs
        assert (line.get("loss/pairs") > 0) == (pairs > 0)


def test_one_answer_a_prompt_is_refused_with_the_way_out():
    for name in ("a2po", "dpo", "gvpo"):
        with pytest.raises(ValueError, match="samples_per_prompt"):
            replace(RECIPES[name], sampling=Sampling(4, 1))


def test_the_plan_says_when_the_anchor_is_the_policy_itself(small):
    once, again = small("gvpo"), small("dno")
    assert any("the anchor is the policy itself" in remark for remark in plan(once).remarks)
    assert not any("anchor" in remark for remark in (*plan(again).remarks, *plan(small("dpo")).remarks))


def test_leaning_on_easy_pairs_is_a_setting(small, tmp_path):
    objective = PairLoss(Logistic(0.1, wrong_labels=0.2), weights=Tilt(-1.0), margin=0.5)
    train(small("dpo", objective=objective, steps=2), tmp_path / "run")
    lines = list(RunFolder.open(tmp_path / "run").metrics())
    assert all(line.get("loss/pairs") >= 0 for line in lines)


def test_self_play_on_a_judge_of_pairs(small, tmp_path):
    """Told is the share of comparisons won; pairs are siblings who won differently often."""
    judged = JudgeRanking(ScriptedJudge(), compare="pairs", alone=0.0, told="wins")
    objective = replace(RECIPES["dno"].objective, compare="outcomes")
    train(small("dno", reward=judged, noise=NoNoise(), objective=objective, steps=2), tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    for step, line in enumerate(folder.metrics(), 1):
        groups = {}
        for row in folder.rollouts(step).to_pylist():
            groups.setdefault(row["group"], []).append(row["reward_told"])
        for wins in groups.values():
            assert sum(wins) == pytest.approx(len(wins) / 2)  # each comparison is won by one, or shared
        assert line.get("policy/pairs") == sum(sum(x > y for x in wins for y in wins) for wins in groups.values())
