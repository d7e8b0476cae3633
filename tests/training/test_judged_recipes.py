"""Recipes whose reward asks a judge: a policy of twenty thousand parameters comes to do what the scripted judge knows.

The policy writes four random bits; right is an answer that begins with 1. The judge errs one time in ten, so what is
told is noisy, and what is measured is the truth.
"""

import json
from dataclasses import replace
from statistics import fmean

import pytest

from critica.benches.small_policy import make_small_policy
from critica.environments.chain import Chain
from critica.environments.files import TaskFile
from critica.policies.part import LocalPolicy
from critica.recipes.base import Checkpoints, Sampling
from critica.recipes.catalogue import RECIPES
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.spec_file import SpecChecks
from critica.rewards.verifiers import RegexExtract
from critica.store.run_folder import RunFolder
from critica.training.progress import Silent
from critica.training.run import resume, train
from critica.updaters.gradient import Adam

PROMPTS = 24
FIRST = RegexExtract(r"\A\s*(\d)")
SOURCE = "111"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_small_policy(tmp_path_factory.mktemp("policy"), Chain(length=4).build(0))


@pytest.fixture
def made(folder, tmp_path):
    """A recipe of the catalogue on rows of a task file, its judge knowing what is right there."""

    def make(name, steps=14, **changes):
        tasks = tmp_path / "tasks.jsonl"
        rows = [{"prompt": f"copy {i:05b}: ", "answer": "1", "text": SOURCE} for i in range(PROMPTS)]
        tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
        recipe = RECIPES[name]
        if hasattr(recipe.reward, "judge"):
            changes = {"judge": replace(recipe.reward.judge, truth=FIRST)} | changes
        learner = replace(recipe.learner, policy=Adam(3e-3), critic=Adam(1e-2, head_factor=2.0))
        return replace(
            recipe, policy=LocalPolicy(str(folder)), environment=TaskFile(str(tasks), max_new_tokens=5), seed=1,
            reward=replace(recipe.reward, **changes), learner=learner, sampling=Sampling(4, 8), steps=steps, threads=1,
            checkpoint=Checkpoints(every=10**6, keep=1),
        )  # fmt: skip

    return make


def right(run, steps):
    """The share of answers in these steps that begin with 1."""
    with RunFolder.open(run) as kept:
        texts = [text for step in steps for text in kept.rollouts(step, ["text"])["text"].to_pylist()]
    return fmean(text.strip().startswith("1") for text in texts)


CHANGES = {
    "rlr3": {"verifier": FIRST},
    "evo_rubric": {},
    "prompt_spec": {"checkers": (SpecChecks(common=("def check(response): return response.strip()[:1] == '1'",)),)},
    "roro": {"outcome": FIRST},
    "pearl": {},
    "rlhs": {},
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_what_the_judge_knows_is_learned_through_its_errors(name, made, tmp_path):
    assert isinstance(RECIPES[name].reward.judge, ScriptedJudge) and RECIPES[name].reward.judge.matrix[0][1] == 0.1
    train(made(name, **CHANGES[name]), tmp_path / "run")
    before, after = right(tmp_path / "run", (1, 2)), right(tmp_path / "run", (13, 14))
    assert before < 0.65 < 0.8 < after, (before, after)


def test_a_source_is_carried_over_without_a_judge(made, tmp_path):
    train(made("sg_srl", source="info.text"), tmp_path / "run")
    with RunFolder.open(tmp_path / "run") as kept:
        told = [line["reward/told"] for line in kept.metrics()]
    assert fmean(told[-2:]) > fmean(told[:2]) + 0.2


class Stops(Silent):
    """Ends the run at this step as a crash would: after its verdicts were journaled."""

    def __init__(self, step):
        self.at = step

    def step(self, record):
        if record.step == self.at:
            raise KeyboardInterrupt


def test_criteria_that_evolve_are_the_same_after_a_crash(made, tmp_path):
    """A step whose verdicts stand in the journal is not judged again, and the pool learns from it all the same."""
    recipe = replace(made("evo_rubric", steps=4), checkpoint=Checkpoints(every=2, keep=2))
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops(3))
    assert (tmp_path / "cut" / "journal" / "step_3.jsonl").stat().st_size > 0
    resume(tmp_path / "cut")
    kept = [
        json.loads((tmp_path / run / "checkpoints" / "step_4" / "progress.json").read_text())
        for run in ("whole", "cut")
    ]
    assert kept[0]["source"] == kept[1]["source"] and kept[0]["source"]["pool"]
    weights = [
        (tmp_path / run / "checkpoints" / "step_4" / "policy" / "model.safetensors").read_bytes()
        for run in ("whole", "cut")
    ]
    assert weights[0] == weights[1]
