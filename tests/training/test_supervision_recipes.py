"""Recipes that are a reward, on tasks that a policy of twenty thousand parameters can do: what it is paid rises.

The policy writes four random bits, whatever is asked, and each recipe's reward is read from what the tasks hold.
"""

import json
from dataclasses import replace
from statistics import fmean

import pytest

from critica.benches.small_policy import make_small_policy
from critica.environments.chain import Chain
from critica.environments.files import TaskFile
from critica.policies.part import LocalPolicy
from critica.recipes.base import Checkpoints, HeldOut, Sampling
from critica.recipes.catalogue import RECIPES
from critica.rewards.verifiers import Exact, RegexExtract
from critica.store.run_folder import RunFolder
from critica.training.run import train
from critica.updaters.gradient import Adam

PROMPTS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_small_policy(tmp_path_factory.mktemp("policy"), Chain(length=4).build(0))


@pytest.fixture
def paid(folder, tmp_path):
    """Train a recipe on rows of a task file; what it was paid on average in the first and the last four steps."""

    def run(name, row, reward, steps=16, prompts=8, rate=1e-2):
        tasks = tmp_path / "tasks.jsonl"
        tasks.write_text("".join(json.dumps({"prompt": f"copy {i:05b}: ", **row(i)}) + "\n" for i in range(PROMPTS)))
        recipe = RECIPES[name]
        learner = replace(recipe.learner, policy=Adam(rate), critic=Adam(rate, head_factor=2.0))
        made = replace(
            recipe, policy=LocalPolicy(str(folder)), environment=TaskFile(str(tasks), max_new_tokens=5), seed=1,
            reward=reward, learner=learner, sampling=Sampling(prompts, 8), steps=steps, threads=1,
            checkpoint=Checkpoints(every=10**6, keep=1), held_out=HeldOut(0),
        )  # fmt: skip
        train(made, tmp_path / "run")
        told = [line.get("reward/told") for line in RunFolder.open(tmp_path / "run").metrics()]
        return fmean(told[:4]), fmean(told[-4:])

    return run


def test_constraints_are_met_more_and_more(paid):
    rules = [["Content", "Identifiers", "The answer must start with '1'"],
             ["Content", "Keywords", "Must include the keyword '11'"],
             ["Content", "Keywords", "Must not include the keyword '0'"],
             ["Content", "Keywords", "each bit rhymes with its neighbor"]]  # fmt: skip
    before, after = paid(
        "mul_dim_if", lambda i: {"constraints": rules}, RECIPES["mul_dim_if"].reward, prompts=4, rate=6e-3
    )
    assert before < 1.8 and after > 2.4  # three can be read; the fourth is missing, not failed


def test_a_poor_prior_forecast_is_left(paid):
    """The prior is 400 and the truth 11: four bits, read as a decimal number."""
    before, after = paid("post_time", lambda i: {"prior": 400, "truth": 11}, RECIPES["post_time"].reward)
    assert before < 0.85 and after > 0.98


def test_the_task_is_done_and_the_planted_one_is_not(paid):
    """The task: begin with 1. What is planted asks for an ending in 1."""
    reward = replace(RECIPES["distraction_if"].reward, then=RegexExtract(r"\A\s*(\d)"))
    planted = [{"detector": "ends_with", "value": "1"}, {"detector": "contains", "value": "stop"}]
    before, after = paid("distraction_if", lambda i: {"answer": "1", "distractors": planted}, reward)
    assert before < 0.45 and after > 0.8


def test_a_stated_confidence_becomes_what_it_deserves(paid):
    """Three bits are the answer, right in one of eight tasks or so; the fourth is the confidence, none or full.

    Saying 0 where one is mostly wrong pays about 10, saying 1 about -10.
    """
    reward = replace(RECIPES["rewarding_doubt"].reward, then=Exact(), steps=1.0, pattern=r"(?<=\d\d\d)(\d)\s*\Z")
    before, after = paid("rewarding_doubt", lambda i: {"answer": f"{i % 8:03b}"}, reward)
    assert before < 4.0 and after > 6.5
