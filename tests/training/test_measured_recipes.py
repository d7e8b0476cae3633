"""Recipes whose critics measure: they train, resume to the same bits, and are refused where they would mislead."""

import json
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file

from critica.environments.arithmetic import Arithmetic
from critica.rewards.noise_specs import parse_noise
from critica.rollout.control import ControlPart, Unhindered
from critica.rollout.place import Placement
from critica.store.run_folder import RunFolder
from critica.training.assemble import assemble
from critica.training.critic_audit import AuditPlan, audit_critic
from critica.training.observe import UnmetNeed
from critica.training.progress import Silent
from critica.training.run import resume, train


@dataclass(frozen=True, slots=True)
class Always(ControlPart):
    """Some control."""

    def build(self, context):
        return Unhindered()


class Stops(Silent):
    """Ends the run at this step as a crash would."""

    def __init__(self, step):
        self.at = step

    def step(self, record):
        if record.step == self.at:
            raise KeyboardInterrupt


def weights(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    return {
        f"{path.relative_to(folder)}:{name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


@pytest.mark.parametrize("name", ["vine_ppo", "proact"])
def test_a_run_moves_the_policy_and_resumes_to_the_same_bits(name, small, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(small(name), whole)
    with pytest.raises(KeyboardInterrupt):
        train(small(name), cut, reporter=lambda steps, done: Stops(3))
    resume(cut)
    start, end, again = weights(whole, 2), weights(whole, 4), weights(cut, 4)
    assert any(not torch.equal(start[key], end[key]) for key in start if key.startswith("policy/"))
    assert end.keys() == again.keys() and all(torch.equal(end[key], again[key]) for key in end)
    assert RunFolder.open(whole).rollouts(4).equals(RunFolder.open(cut).rollouts(4))
    assert (whole / "metrics.jsonl").read_bytes() == (cut / "metrics.jsonl").read_bytes()


def test_what_continuations_were_told_is_journaled_and_their_price_is_on_the_panel(small, tmp_path):
    train(small("vine_ppo", steps=1), tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    told = [json.loads(line) for line in (tmp_path / "run/journal/step_1.jsonl").read_text().splitlines()]
    fresh = [line["trajectory_id"] for line in told if "@" in line["trajectory_id"]]
    panel = next(iter(run.metrics()))
    assert len(fresh) == len(set(fresh)) == panel["continuations/samples"] > 0
    assert len(told) - len(fresh) == 12  # 3 prompts x 4 samples
    assert panel["continuations/tokens"] >= panel["continuations/samples"]
    assert panel["continuations/unknown"] == 0.0
    plain = small("grpo", steps=1)
    train(plain, tmp_path / "plain")
    assert not any("@" in line for line in (tmp_path / "plain/journal/step_1.jsonl").read_text().splitlines())


def test_a_rehearsal_asks_no_source_about_continuations(small, tmp_path):
    train(small("vine_ppo", steps=1), tmp_path / "run")
    assert not (tmp_path / "run/journal/step_0.jsonl").exists()


def test_an_environment_that_cannot_be_put_back_is_refused_before_the_run(small, tmp_path):
    with pytest.raises(UnmetNeed, match="cannot be put back to an earlier state: take a token game"):
        assemble(small("proact", environment=Arithmetic()))


def test_noise_that_a_simulator_would_see_through_is_refused(small):
    with pytest.raises(ValueError, match="would tell training what the noise hides"):
        assemble(small("proact", noise=parse_noise("flip:0.2:group")))


def test_a_cost_on_every_token_that_continuations_do_not_know_is_refused(small):
    with pytest.raises(ValueError, match="reference_kl=0"):
        assemble(small("vine_ppo", placement=Placement(reference_kl=0.1)))


def test_a_decode_control_that_continuations_do_not_know_is_refused(small):
    with pytest.raises(ValueError, match="control=none"):
        assemble(small("vine_ppo", control=Always()))


def test_a_measuring_critic_is_audited_and_told_what_its_run_would_be_told(small, tmp_path):
    """Under noise that flips everything it expects the opposite of the truth, from continuations of its own."""
    train(small("vine_ppo", steps=1), tmp_path / "run")
    plan = AuditPlan(prompts=3, samples=2, answers=2, positions=2, continuations=4, seed=1)
    report = audit_critic(tmp_path / "run", plan=plan, noise=parse_noise("flip:1:sample"))
    assert report.critic == "MonteCarloRollouts" and not report.uses_own_outcome
    truth = [state.truth for state in report.states]
    assert max(truth) == 0.0 and [state.value for state in report.states] == [1.0] * len(truth)
