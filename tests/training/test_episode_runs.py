"""Whole runs of exchanges: what is recorded, whose books balance, and a resume in the middle of judged critiques."""

from dataclasses import replace

import pytest

from critica.environments.arithmetic import Arithmetic
from critica.environments.guess import Guess
from critica.environments.recall import Recall
from critica.recipes.base import Checkpoints, Sampling
from critica.records.words import label_of
from critica.rewards.noise_specs import parse_noise
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rollout.critiques import JudgeCritique
from critica.rollout.memory import Memory
from critica.store.audit import audit
from critica.store.run_folder import RunFolder
from critica.training.progress import Silent
from critica.training.run import resume, train
from critica.viewer.rollouts import pick_rollouts

WORLDS = {
    "rltf_sd": (Guess(4), {"", "single"}),
    "rltf_fm": (Guess(4), {"", "critique"}),
    "retro_act": (Guess(4), {"", "reflection-1", "trial-2", "expert"}),
    "mmpo": (Recall(chunks=2), {"", "memory-2", "answer"}),
    "ladder": (Arithmetic(difficulty=5), {""}),
}


def recipe_of(small, name, **changes):
    environment, _ = WORLDS[name]
    made = small(name, environment=environment, noise=parse_noise("none"), steps=2, sampling=Sampling(2, 3, 1.0, 4))
    return replace(made, **changes)


@pytest.mark.parametrize("name", list(WORLDS))
def test_a_run_records_every_scene_and_its_books_balance(name, small, tmp_path):
    recipe = recipe_of(small, name)
    if name == "mmpo":
        recipe = replace(recipe, protocol=Memory(probes=2, memory_tokens=4))
    result = train(recipe, tmp_path / "run")
    assert result.finished
    with RunFolder.open(tmp_path / "run") as run:
        found = audit(run)
        assert not found.problems
        rows = run.rollouts(2).to_pylist()
        assert {label_of(row["trajectory_id"]) for row in rows} == WORLDS[name][1]
        names = {row["trajectory_id"] for row in rows}
        assert all(not row["parent_id"] or row["parent_id"] in names for row in rows)
        shown = {one.trajectory_id: one for one in pick_rollouts(run).rollouts}
        for row in rows:
            if label_of(row["trajectory_id"]) and row["trajectory_id"] in shown:
                first = row["sampled_mask"].index(True)
                assert shown[row["trajectory_id"]].prompt == "".join(row["tokens"][:first])  # its own context


class Stops(Silent):
    def __init__(self, at):
        self.at = at

    def step(self, record):
        if record.step == self.at:
            raise KeyboardInterrupt


def test_a_run_with_judged_critiques_goes_on_to_the_same_bits(small, tmp_path):
    recipe = recipe_of(small, "rltf_sd", steps=2, checkpoint=Checkpoints(every=1, keep=2))
    judge = JudgeCritique(ScriptedJudge(matrix=((0.7, 0.3), (0.3, 0.7))), longest=12)
    recipe = replace(recipe, protocol=replace(recipe.protocol, critic=judge, message="\n{critique}: "))
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops(1))
    journal = (tmp_path / "cut" / "journal" / "step_1.jsonl").read_text()
    assert '"text": "By the book.' in journal
    resume(tmp_path / "cut")
    ends = [(tmp_path / name / "rollouts/step_000002.parquet").read_bytes() for name in ("whole", "cut")]
    assert ends[0] == ends[1]
