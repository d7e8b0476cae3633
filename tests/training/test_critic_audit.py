"""An audit end to end on a tiny policy: learned and counted critics, and what the report says."""

import json
from dataclasses import replace

import pytest

from critica.critics.bottleneck import Bottleneck
from critica.critics.scalar import ScalarCritic
from critica.critics.semantic import SemanticAnchor
from critica.records.critic_report import READINGS
from critica.rewards.noise_specs import parse_noise
from critica.training.critic_audit import AuditPlan, audit_critic
from critica.training.critic_target import NoCriticHere
from critica.training.critic_truths import AuditProblem
from critica.training.run import train

PLAN = AuditPlan(prompts=6, samples=4, answers=2, positions=3, continuations=4, seed=1)


@pytest.fixture
def runs(small, tmp_path):
    def make(name, **changes):
        train(small(name, steps=2, **changes), tmp_path / name)
        return tmp_path / name

    return make


def test_a_learned_critic_of_any_law_is_measured_and_measured_again_alike(runs):
    run = runs("dvpo")
    report = audit_critic(run, plan=PLAN)
    assert report.critic == "QuantileCritic" and report.law == "Quantiles"
    assert (report.policy_version, report.critic_step, report.age) == (2, 2, 0)
    assert {reading.name for reading in report.row("critic").readings} == set(READINGS)
    assert [row.name for row in report.rows] == ["critic", "group mean", "prompt value"]
    assert 6 * 2 * 2 <= len(report.states) <= 6 * 2 * 3
    assert all(0 <= state.truth <= 1 and state.position < state.length for state in report.states)
    assert report.price.parameters > 0 and dict(report.plasticity)["critic/feature_rank"] >= 1
    again = audit_critic(run, plan=PLAN)
    assert again.states == report.states
    json.dumps(report.to_json(), allow_nan=False)


def test_the_group_mean_measures_itself(runs):
    """The counted critic and the reference row are the same numbers, also through the run's reward noise."""
    report = audit_critic(runs("grpo"), plan=PLAN, noise=parse_noise("flip:0.2:sample"))
    assert report.critic == "GroupMeanCritic".removesuffix("Critic") and report.uses_own_outcome
    mine, group = report.row("critic"), report.row("group mean")
    assert [r.value for r in mine.readings] == pytest.approx([r.value for r in group.readings], nan_ok=True)
    assert all(state.value == state.group_mean for state in report.states)
    assert report.plasticity == () and report.price.parameters == 0
    clean = audit_critic(report.target, plan=PLAN, noise=parse_noise("none"))
    assert [s.truth for s in clean.states] == [s.truth for s in report.states]  # noise never reaches the truth
    assert [s.value for s in clean.states] != [s.value for s in report.states]


def test_a_regularized_critic_and_a_strange_policy(runs, tiny_folder):
    critic = ScalarCritic(hidden=8, regularizers=(SemanticAnchor(), Bottleneck(8)))
    run = runs("ppo", critic=critic)
    report = audit_critic(run, policy=str(tiny_folder), plan=PLAN)
    assert report.policy == str(tiny_folder) and (report.policy_version, report.age) == (0, -2)
    first = audit_critic(run, step=0, plan=PLAN)
    assert first.critic_step == 0 and all(state.value == 0 for state in first.states)


def test_what_cannot_be_audited_is_refused(runs, tmp_path):
    with pytest.raises(NoCriticHere, match="holds no critic"):
        audit_critic(tmp_path, plan=PLAN)
    with pytest.raises(AuditProblem, match="not so many"):
        AuditPlan(samples=1, answers=2)
    with pytest.raises(AuditProblem, match="says nothing"):
        audit_critic(runs("rloo"), plan=replace(PLAN, samples=1, answers=1))


def test_a_game_can_be_walked_through(runs):
    """The tiny policy writes no digits: every state is worth nothing, exactly, and sampling agrees."""
    run = runs("ppo")
    exact = audit_critic(run, plan=replace(PLAN, exact=True))
    assert exact.truth.startswith("every continuation") and all(state.truth_error == 0 for state in exact.states)
    assert max(state.truth for state in exact.states) < 0.01
    assert exact.row("critic")["mae"].floor == 0
    with pytest.raises(AuditProblem, match="not known"):
        audit_critic(run, environment="arithmetic:1", plan=replace(PLAN, exact=True))
