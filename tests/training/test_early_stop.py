"""Early stopping inside the decoder: off it changes no bit, on it cuts rows, tells them the failure, and is resumed."""

from dataclasses import replace

import pytest
import torch

from critica.critics.bodies import OwnBody, SharedTrunk
from critica.critics.scalar import ScalarCritic
from critica.records.supervision import Scored
from critica.records.words import StopReason
from critica.rollout.control import NoControl
from critica.rollout.early_stop import EarlyStop
from critica.rollout.gather import gather
from critica.rollout.place import place
from critica.rollout.tokenize import tokenize
from critica.store.run_folder import RunFolder
from critica.training.assemble import assemble
from critica.training.run import resume, train


@pytest.fixture
def stopping(small):
    """ESPO on the digit-sum game, stopping from its first step on."""

    def make(**control):
        recipe = small("espo", steps=4)
        return replace(recipe, control=EarlyStop(**{"warmup_steps": 0, "threshold": 0.5, "audit": 0.0, **control}))

    return make


def gathered(recipe, step=1):
    assembly = assemble(recipe)
    try:
        state = assembly.state
        request = state.curriculum.next(step)
        found = gather(state.policy, state.curriculum, assembly.supervision, recipe.admission, request, state.control)
        return found, assembly
    finally:
        assembly.close()


def test_a_threshold_that_nothing_reaches_gives_the_same_tokens_bit_for_bit(stopping):
    plain, _ = gathered(replace(stopping(), control=NoControl()))
    watched, _ = gathered(stopping(threshold=1e9))
    assert plain.groups == watched.groups and plain.rewards == watched.rewards


def test_a_stopped_row_is_a_prefix_of_what_it_would_have_been_and_is_told_the_failure(stopping):
    plain, _ = gathered(replace(stopping(), control=NoControl()))
    cut, _ = gathered(stopping(threshold=1e-9, failure=-0.5))
    stopped = 0
    told = {reward.trajectory_id: reward for reward in cut.rewards}
    for before, after in zip(plain.groups, cut.groups, strict=True):
        for whole, part in zip(before.trajectories, after.trajectories, strict=True):
            ids = part.turns[-1].token_ids
            assert whole.turns[-1].token_ids[: len(ids)] == ids
            if part.stop is StopReason.EARLY_STOPPED:
                stopped += 1
                assert told[part.trajectory_id].outcome == Scored(-0.5)
            else:
                assert told[part.trajectory_id] == {r.trajectory_id: r for r in plain.rewards}[part.trajectory_id]
    assert stopped >= 3
    assert {metric.name: metric.total for metric in cut.reports}["control/stop_rate"] == stopped


def test_the_value_read_while_decoding_is_the_value_predicted_afterwards(stopping):
    recipe = stopping()
    assembly = assemble(recipe)
    try:
        state = assembly.state
        with torch.no_grad():
            state.critic.head.weight.normal_(std=0.05)
        seen, shown = [], []
        inner = state.control.begin

        def begin(step, streams, temperature):
            hand = inner(step, streams, temperature)
            reads = hand.read

            def read(hidden):
                seen.append(reads(hidden))
                return seen[-1]

            hand.read = read
            drawn = hand.on_drawn

            def on_drawn(hidden, logits, tokens, rows, writing):
                given_up = drawn(hidden, logits, tokens, rows, writing)
                shown.append((rows[writing], seen[-1][writing]))
                return given_up

            hand.on_drawn = on_drawn
            return hand

        state.control.begin = begin
        request = state.curriculum.next(1)
        found = gather(state.policy, state.curriculum, assembly.supervision, recipe.admission, request, state.control)
        batch = tokenize(found.groups)
        evidence = state.observer.observe(found.groups, batch)
        told = place(found.rewards, batch, evidence, recipe.placement, assembly.source)
        values = state.critic.predict(batch, told, evidence)
        assert len(shown) > 1
        for t, (rows, value) in enumerate(shown):
            for row, said in zip(rows.tolist(), value.tolist(), strict=True):
                at = int(batch.prefix_length[row]) + t
                assert said == pytest.approx(float(values.mean[row, at]), abs=1e-4)
    finally:
        assembly.close()


def test_an_audited_row_goes_on_and_is_counted(stopping):
    found, assembly = gathered(stopping(threshold=1e-9, audit=1.0))
    plain, _ = gathered(replace(stopping(), control=NoControl()))
    assert found.groups == plain.groups
    reports = {metric.name: metric for metric in found.reports}
    assert reports["control/stop_rate"].total == 0 and reports["control/false_stop_rate"].count >= 3
    assert assembly.state.control.memory.threshold > 1e-9  # too many were given up, audited or not


def test_random_stops_come_at_the_rate_that_is_asked_for(stopping):
    recipe = replace(stopping(at_random=True, target=0.5), sampling=replace(stopping().sampling, prompts_per_step=16))
    assembly = assemble(recipe)
    try:
        state, rates = assembly.state, []
        for step in range(1, 40):
            request = state.curriculum.next(step)
            found = gather(
                state.policy, state.curriculum, assembly.supervision, recipe.admission, request, state.control
            )
            rates.append(next(m.value for m in found.reports if m.name == "control/stop_rate"))
        assert sum(rates[20:]) / len(rates[20:]) == pytest.approx(0.5, abs=0.12)
    finally:
        assembly.close()


def test_the_rule_is_resumed_with_its_memory(stopping, tmp_path):
    recipe = replace(stopping(), checkpoint=replace(stopping().checkpoint, every=2))
    train(recipe, tmp_path / "whole")
    train(replace(recipe, steps=2), tmp_path / "cut")
    resume(tmp_path / "cut", steps=4)
    for name in ("metrics.jsonl", "ledger.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    stops = {row["stop"] for row in RunFolder.open(tmp_path / "whole").rollouts(1).to_pylist()}
    assert "early_stopped" in stops


def test_a_critic_with_a_body_of_its_own_is_refused(small):
    recipe = small("espo")
    with pytest.raises(ValueError, match=r"critic\.body=shared"):
        assemble(replace(recipe, critic=ScalarCritic(body=OwnBody())))
    assemble(replace(recipe, critic=ScalarCritic(body=SharedTrunk()))).close()
