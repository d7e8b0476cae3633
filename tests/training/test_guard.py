"""A number that is not finite: the step is skipped, counted, kept and replayed; after too many the run stops."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.objectives.policy_loss import PolicyLoss
from critica.policies.language_model import LanguagePolicy
from critica.recipes.base import Safety
from critica.recipes.catalogue import PARTS
from critica.recipes.resolve import change_recipe
from critica.records.losses import LossTerm, TokenMean
from critica.store.run_folder import RunFolder
from critica.training.assemble import assemble
from critica.training.poison import TooManyBadSteps
from critica.training.progress import Silent
from critica.training.rehearsal import RehearsalFailed, rehearse
from critica.training.replay import replay
from critica.training.run import resume, train

# A critic of one's own that goes wrong at chosen steps; the step is read off the trajectories' names.
SOURCE = '''
from dataclasses import dataclass, replace

import torch

from critica.critics.base import CriticPart, ValueCritic
from critica.records.arrays import ValuePrediction


def step_of(batch):
    return int(batch.trajectory_ids[0].split(".")[0])


@dataclass(frozen=True)
class Breaks(CriticPart):
    first: int = 2
    last: int = 2

    def build(self, context):
        return Live(self)


class Live(ValueCritic):
    def __init__(self, settings):
        self.settings = settings

    def predict(self, batch, told, evidence):
        mean = torch.where(batch.sampled_mask, 0.5, 0.0)
        if self.settings.first <= step_of(batch) <= self.settings.last:
            mean[1, batch.sampled_mask[1].nonzero()[0]] = float("nan")
        return ValuePrediction(mean, batch.sampled_mask, torch.zeros(batch.rows))
'''


@pytest.fixture
def parts_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def tensors(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    return {p.name: load_file(p) for p in sorted(folder.rglob("*.safetensors"))}


def equal(first, second):
    return all(torch.equal(first[f][n], second[f][n]) for f in first for n in first[f])


def every_step(recipe):
    return replace(recipe, checkpoint=replace(recipe.checkpoint, every=1, keep=10))


def test_a_bad_value_skips_the_step_keeps_it_and_the_run_goes_on(small, parts_file, tmp_path):
    recipe = change_recipe(every_step(small("ppo", steps=4)), [f"critic={parts_file}:Breaks"], PARTS)
    result = train(recipe, tmp_path / "run")
    assert result.finished and (result.progress.skipped, result.progress.skipped_in_a_row) == (1, 0)
    store = RunFolder.open(tmp_path / "run")
    assert [line["step/skipped"] for line in store.metrics()] == [0.0, 1.0, 0.0, 0.0]
    entries = [e for e in store.ledger() if e["step"] == 2 and e["kind"] == "sample"]
    assert len(entries) == 12 and {(e["state"], e["reason"]) for e in entries} == {("masked", "non_finite")}
    fault = store.poison.fault(2)
    assert (fault.stage, fault.quantity, fault.bad) == ("predict", "ValuePrediction.mean", 1)
    assert fault.rows == ("2.0.1",)
    assert 2 not in store.checkpoints.steps  # nothing is saved while a bad step is the last one


def test_the_skipped_step_moves_no_weight(small, parts_file, tmp_path):
    broken = change_recipe(small("ppo", steps=2), [f"critic={parts_file}:Breaks"], PARTS)
    train(every_step(broken), tmp_path / "run")
    first, last = tensors(tmp_path / "run", 1), tensors(tmp_path / "run", 2)
    assert equal(first, last)
    settings = [f"critic={parts_file}:Breaks", "critic.first=9", "critic.last=9"]
    whole = change_recipe(small("ppo", steps=2), settings, PARTS)
    train(every_step(whole), tmp_path / "whole")
    assert not equal(first, tensors(tmp_path / "whole", 2))


@pytest.mark.parametrize("only_gradient", [False, True])
def test_a_bad_loss_or_gradient_moves_no_weight(only_gradient, small, tmp_path, monkeypatch):
    plain = PolicyLoss.terms

    def terms(self, scores, batch, credit, evidence, told):
        found, metrics = plain(self, scores, batch, credit, evidence, told)
        if batch.trajectory_ids[0].startswith("2."):
            zero = (scores.policy_logprobs * 0.0).abs()
            wrong = zero.sqrt() if only_gradient else 1.0 / zero
            found = (*found, LossTerm("policy", wrong, credit.mask, 1.0, TokenMean()))
        return found, metrics

    monkeypatch.setattr(PolicyLoss, "terms", terms)
    train(every_step(small("grpo", steps=3)), tmp_path / "run")
    store = RunFolder.open(tmp_path / "run")
    assert [line["step/skipped"] for line in store.metrics()] == [0.0, 1.0, 0.0]
    fault = store.poison.fault(2)
    assert fault.stage == "update"
    assert ("gradient" in fault.quantity) == only_gradient
    base = load_file(store.poison.path_of(2) / "from" / "step_1" / "policy" / "model.safetensors")
    assert equal({"p": base}, {"p": load_file(tmp_path / "run/checkpoints/step_1/policy/model.safetensors")})
    found = replay(tmp_path / "run", 2, tmp_path / "again")
    assert not found.differences and found.fault == fault


def test_a_bad_step_is_replayed_bit_for_bit_after_its_checkpoint_was_rotated_away(small, parts_file, tmp_path):
    settings = [f"critic={parts_file}:Breaks", "critic.first=3", "critic.last=3"]
    recipe = change_recipe(small("ppo", steps=6), settings, PARTS)
    train(replace(recipe, checkpoint=replace(recipe.checkpoint, every=2, keep=1)), tmp_path / "run")
    store = RunFolder.open(tmp_path / "run")
    assert store.checkpoints.steps == (6,)
    found = replay(tmp_path / "run", 3, tmp_path / "again")
    assert found.base == 2 and not found.differences and found.fault is not None
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    lines[2] = lines[2].replace('"reward/told": ', '"reward/told": 1')
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert replay(tmp_path / "run", 3, tmp_path / "third").differences == ("step 3: the metrics differ",)


def test_after_too_many_the_run_stops_before_it_saves(small, parts_file, tmp_path):
    settings = [f"critic={parts_file}:Breaks", "critic.first=4", "critic.last=99", "safety.kept_batches=2"]
    recipe = change_recipe(small("ppo", steps=20), settings, PARTS)
    run = tmp_path / "run"
    with pytest.raises(TooManyBadSteps, match=r"3 steps in a row.*step 6.*critica replay .* 6"):
        train(replace(recipe, checkpoint=replace(recipe.checkpoint, every=1, keep=2)), run)
    store = RunFolder.open(run)
    assert store.checkpoints.steps == (2, 3) and store.last_step == 6 and store.poison.steps == (4, 5)
    with pytest.raises(TooManyBadSteps):
        resume(run)
    said = []
    assert resume(run, steps=7, settings=["critic.first=100"], notify=said.append).finished
    assert any("critic.first: 4 -> 100" in line for line in said)
    assert RunFolder.open(run).poison.steps == ()


def test_a_sampler_that_returns_no_numbers_teaches_nothing(small, tmp_path, monkeypatch):
    whole = LanguagePolicy.sample

    def sample(self, requests, limits, seed, control=None, ended=None):
        written = whole(self, requests, limits, seed, control, ended)
        if requests[0].streams[0][0] == 2:
            first = written[0][0]
            written[0][0] = replace(first, logprobs=(float("nan"), *first.logprobs[1:]))
        return written

    monkeypatch.setattr(LanguagePolicy, "sample", sample)
    train(every_step(small("dvpo", steps=3)), tmp_path / "run")
    store = RunFolder.open(tmp_path / "run")
    fault = store.poison.fault(2)
    assert (fault.stage, fault.quantity, fault.rows) == ("gather", "TokenBatch.behavior_logprobs", ("2.0.0",))
    assert [line["step/skipped"] for line in store.metrics()] == [0.0, 1.0, 0.0]


def test_weights_that_overflow_are_refused_before_training(small, tmp_path):
    recipe = small("grpo")
    assembly = assemble(recipe)
    try:
        with torch.no_grad():
            assembly.state.policy.model.model.norm.weight.fill_(3e38)
        with pytest.raises(RehearsalFailed, match="not finite"):
            rehearse(assembly, recipe)
    finally:
        assembly.close()


@pytest.mark.parametrize("name", ["grpo", "ppo", "dvpo"])
def test_a_rehearsal_changes_no_bit(name, small, tmp_path):
    for rehearsal in (True, False):
        train(small(name, steps=2, safety=Safety(rehearsal=rehearsal)), tmp_path / str(rehearsal))
    assert equal(tensors(tmp_path / "True", 2), tensors(tmp_path / "False", 2))
    assert (tmp_path / "True/metrics.jsonl").read_bytes() == (tmp_path / "False/metrics.jsonl").read_bytes()


def test_a_rehearsal_finds_what_cannot_learn(small, monkeypatch):
    recipe = small("ppo")
    assembly = assemble(recipe)
    try:
        assert rehearse(assembly, recipe) == []
        weight = next(assembly.state.critic.head.parameters())
        outside = torch.nn.Parameter(torch.zeros(3))
        monkeypatch.setattr(assembly.state.critic, "trainable", lambda: [("head.stray", outside), ("head.w", weight)])
        with pytest.raises(RehearsalFailed, match=r"critic head\.stray"):
            rehearse(assembly, recipe)
        monkeypatch.undo()
        monkeypatch.setattr(assembly.learner, "update", lambda *arguments: ())
        with pytest.raises(RehearsalFailed, match="no weight of the policy moved"):
            rehearse(assembly, recipe)
        monkeypatch.undo()
        monkeypatch.setattr(
            "critica.training.rehearsal.score", lambda policy, batch, states: batch.behavior_logprobs - 0.5
        )
        with pytest.raises(RehearsalFailed, match=r"differ by 0\.5 nats"):
            rehearse(assembly, recipe)
    finally:
        assembly.close()


def test_a_rehearsal_names_a_tensor_that_no_gradient_reaches(small, monkeypatch):
    recipe = small("grpo")
    assembly = assemble(recipe)
    try:
        weight = assembly.state.policy.model.model.layers[1].mlp.up_proj.weight
        weight.register_hook(lambda gradient: gradient * 0.0)
        said = rehearse(assembly, recipe)
        assert len(said) == 1 and "layers.1.mlp.up_proj" in said[0]
    finally:
        assembly.close()


class Stops(Silent):
    """Ends the process's run at this step as a crash would, after the step was recorded."""

    def __init__(self, step):
        self.at = step

    def step(self, record):
        if record.step == self.at:
            raise KeyboardInterrupt


REWARD = """
import os

def score(task, completion):
    draw = os.urandom(1)[0]
    if draw < 60:
        raise RuntimeError("the judge is not in")
    return float(draw % 2)
"""


def test_what_was_told_from_outside_is_told_again(small, tmp_path):
    """A reward that says something else each time it is asked: only the journal can make a step repeat."""
    from critica.rewards.base import FailurePolicy
    from critica.rewards.verifiers import Function

    (tmp_path / "judge.py").write_text(REWARD)
    recipe = small(
        "dvpo", steps=5, reward=Function(f"{tmp_path}/judge.py:score"), failures=FailurePolicy(1.0), seed=5
    )
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, run, reporter=lambda steps, done: Stops(3))
    before = {step: RunFolder.open(run).rollouts(step).to_pylist() for step in (1, 2, 3)}
    assert {row["outcome_state"] for row in before[3]} == {"failed", "scored"}
    ledger = [e for e in RunFolder.open(run).ledger() if e["step"] == 3]
    assert resume(run).finished
    after = RunFolder.open(run)
    assert repr(after.rollouts(3).to_pylist()) == repr(before[3])
    assert [e for e in after.ledger() if e["step"] == 3] == ledger
    assert not replay(run, 5, tmp_path / "again").differences


def test_answers_are_kept_as_long_as_a_checkpoint_leads_to_them(small, tmp_path):
    train(small("grpo", steps=7), tmp_path / "run")  # saves at 2, 4, 6 and 7, keeps two
    store = RunFolder.open(tmp_path / "run")
    assert store.checkpoints.steps == (6, 7) and store.journal.steps == (7,)
    line = json.loads((tmp_path / "run/journal/step_7.jsonl").read_text().splitlines()[0])
    assert set(line) == {"step", "source", "trajectory_id", "digest", "said"}
