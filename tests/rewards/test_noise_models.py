"""Noise beyond flips: laws against exact numbers, units, ranges that training may rely on, and specs that read back."""

import math
from dataclasses import replace

import numpy as np
import pytest

from critica.records.supervision import Abstained, Failed, Reward, Scored
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rewards.noise import Flip
from critica.rewards.noise_base import NoiseProblem
from critica.rewards.noise_labels import Confusion, Drift, ExploitableBug, Missing, ScorerOfAccuracy, Spurious
from critica.rewards.noise_specs import parse_noise
from critica.rewards.noise_values import Additive, Favor, Saturation


def world(values, text="the answer is 7", tokens=8, per_group=4):
    """Answers of one text, with clean `values`, four to a group."""
    groups, rewards = [], []
    for g in range(math.ceil(len(values) / per_group)):
        prompt = ContextTurn(Message("user", "q"), (1, 2))
        turn = SampledTurn(Message("assistant", text), (3,) * tokens, (-0.5,) * tokens, 1.0, 0)
        names = [f"{g}.{i}" for i in range(min(per_group, len(values) - g * per_group))]
        rows = tuple(
            Trajectory(name, name, f"t{g % 5}", f"g{g}", "policy", (prompt, turn), StopReason.END_OF_TEXT)
            for name in names
        )
        groups.append(Group(f"g{g}", Task(f"t{g % 5}", "e", (Message("user", "q"),), "7"), rows))
        rewards += [Reward("r", row.trajectory_id, Scored(values[g * per_group + i])) for i, row in enumerate(rows)]
    return rewards, groups


def told(model, values, step=1, low=0.0, high=1.0, **how):
    rewards, groups = world(values, **how)
    return model.tamper(rewards, groups, step, 0, low, high)


def numbers(rewards):
    return np.array([reward.outcome.value for reward in rewards])


def test_a_confusion_of_three_grades_has_its_matrix_as_frequencies_and_the_identity_does_nothing():
    levels, matrix = (0.0, 0.5, 1.0), ((0.7, 0.2, 0.1), (0.0, 1.0, 0.0), (0.25, 0.25, 0.5))
    clean = [levels[i % 3] for i in range(6000)]
    said = numbers(told(Confusion(levels, matrix), clean))
    for i, level in enumerate(levels):
        shares = [(said[i::3] == other).mean() for other in levels]
        assert shares == pytest.approx(matrix[i], abs=4 * 0.5 / math.sqrt(2000)), level
    same = told(Confusion(levels, tuple(tuple(float(i == j) for j in range(3)) for i in range(3))), clean[:40])
    assert numbers(same).tolist() == clean[:40] and not any(reward.tampering.flipped for reward in same)


def test_additive_noise_has_its_law_its_cut_and_its_units():
    clean = [0.25] * 2000
    normal = numbers(told(Additive(0.5), clean)) - 0.25
    assert normal.mean() == pytest.approx(0, abs=4 * 0.5 / math.sqrt(2000)) and normal.std() == pytest.approx(
        0.5, rel=0.04
    )
    heavy = (numbers(told(Additive(0.5, "student", 2.0, cut=1e9), clean)) - 0.25) / 0.5
    # Student's t with 2 degrees: P(|t| > 2) = 1 - 2 / sqrt(6) = .1835, against .0455 of a normal
    assert (abs(heavy) > 2).mean() == pytest.approx(1 - 2 / math.sqrt(6), abs=4 * math.sqrt(0.1835 * 0.8165 / 2000))
    cut = numbers(told(Additive(0.5, "student", cut=2.0), clean))
    low, high = Additive(0.5, "student", cut=2.0).reach(0.25, 0.25)
    assert (cut.min(), cut.max()) == (low, high) == (-0.75, 1.25)
    by_group = numbers(told(Additive(0.5, unit="group"), clean)).reshape(-1, 4)
    assert (by_group == by_group[:, :1]).all() and len(set(by_group[:, 0])) == 500
    assert len(set(numbers(told(Additive(0.5, unit="batch"), clean)))) == 1
    assert len(set(numbers(told(Additive(0.5, unit="prompt"), clean)))) == 5
    assert told(Additive(unit="prompt"), [0.0], 1)[0].outcome == told(Additive(unit="prompt"), [0.0], 9)[0].outcome
    assert told(Additive(unit="batch"), [0.0], 1)[0].outcome != told(Additive(unit="batch"), [0.0], 9)[0].outcome


def test_favor_pays_for_length_or_form_and_says_how_far_it_reaches():
    assert numbers(told(Favor(0.3, length_tokens=16), [0.0, 1.0], tokens=8)).tolist() == [0.15, 1.15]
    assert numbers(told(Favor(0.3, length_tokens=16), [0.0], tokens=64)).tolist() == [0.3]
    assert numbers(told(Favor(-0.3, pattern="answer"), [1.0])).tolist() == [0.7]
    assert numbers(told(Favor(-0.3, pattern="proof"), [1.0])).tolist() == [1.0]
    assert Favor(-0.3).reach(0.0, 1.0) == (-0.3, 1.0) and Favor(0.3).reach(0.0, 1.0) == (0.0, 1.3)


def test_saturation_keeps_the_order_and_squeezes_the_scale():
    said = numbers(told(Saturation(3, 0.2), [0.0, 0.2, 0.3, 0.7, 0.8, 1.0]))
    assert said == pytest.approx([0.8, 0.8, 0.9, 0.9, 1.0, 1.0])
    assert numbers(told(Saturation(2, 1.0), [-1.0, 3.0], low=-1.0, high=3.0)).tolist() == [-1.0, 3.0]


def test_a_scorer_of_stated_accuracy_is_right_and_orders_pairs_that_often():
    said = numbers(told(ScorerOfAccuracy(0.72), [0.0, 1.0] * 1500))
    wrong, right = said[::2], said[1::2]
    assert right.mean() == pytest.approx(0.72, abs=0.033) and wrong.mean() == pytest.approx(0.28, abs=0.033)
    assert ((right > wrong) + 0.5 * (right == wrong)).mean() == pytest.approx(0.72, abs=0.033)


def test_missing_is_no_zero_and_leaves_what_was_missing_alone():
    said = told(Missing(0.25), [1.0] * 4000)
    gone = [isinstance(reward.outcome, Abstained) for reward in said]
    assert np.mean(gone) == pytest.approx(0.25, abs=4 * math.sqrt(0.1875 / 4000))
    assert all(
        reward.clean_value == 1.0 and reward.tampering.flipped == lost for reward, lost in zip(said, gone, strict=True)
    )
    rewards, groups = world([1.0])
    failed = [replace(rewards[0], outcome=Failed("a timeout"))]
    assert Missing(1.0).tamper(failed, groups, 1, 0) == failed


def test_spurious_and_gamed_verdicts():
    assert numbers(told(Spurious("inverse"), [0.0, 1.0, 0.25])).tolist() == [1.0, 0.0, 0.75]
    assert numbers(told(Spurious("random", 0.3), [1.0] * 4000)).mean() == pytest.approx(0.3, abs=0.03)
    assert numbers(told(Spurious("format", pattern=r"\d"), [0.0, 1.0])).tolist() == [1.0, 1.0]
    bug = ExploitableBug()
    assert numbers(told(bug, [0.0, 1.0], text="7, no 7, surely 7")).tolist() == [1.0, 1.0]
    assert numbers(told(bug, [0.0, 1.0], text="7 and 8")).tolist() == [0.0, 1.0]


def test_drift_goes_from_the_truth_to_the_model():
    drift = Drift(Spurious("inverse"), 0.0, 0.8, from_step=10, to_step=20)
    assert [drift.share(step) for step in (1, 10, 15, 20, 99)] == [0.0, 0.0, 0.4, 0.8, 0.8]
    assert numbers(told(drift, [1.0] * 100, step=10)).min() == 1.0
    assert 1 - numbers(told(drift, [1.0] * 4000, step=15)).mean() == pytest.approx(0.4, abs=0.032)
    assert Drift(Favor(0.5)).reach(0.0, 1.0) == (0.0, 1.5)
    with pytest.raises(NoiseProblem, match="write flips as confusion"):
        Drift(Flip(0.1, 0.1))


def test_draws_are_counted_by_identity():
    values = [float(i % 2) for i in range(40)]
    rewards, groups = world(values)
    for model in (ScorerOfAccuracy(0.6), Additive(), Missing(0.4), Confusion()):
        forward = {r.trajectory_id: r for r in model.tamper(rewards, groups, 3, 7)}
        backward = {r.trajectory_id: r for r in model.tamper(rewards[::-1], groups[::-1], 3, 7)}
        assert forward == backward
        assert forward != {r.trajectory_id: r for r in model.tamper(rewards, groups, 4, 7)}
        with pytest.raises(NoiseProblem, match="tampered with before"):
            model.tamper(list(forward.values()), groups, 3, 7)


GOOD = [
    "none",
    "inverse",
    "flip:0.2:batch",
    "flip:0.1/0.3:group",
    "accuracy:0.72",
    "normal:0.5:sample",
    "student:1e-05:prompt",
    "missing:0.1:group",
    "favor:0.3:length:256",
    "favor:-0.3:pattern:a:b",
    "saturation:5:0.3",
    "random:0.5",
    "format:\\d",
    "bug:(a|b)",
]
BAD = [
    "nothing",
    "normal:0.5",
    "normal:x:sample",
    "normal:0.5:row",
    "missing:2:sample",
    "favor:0.3",
    "favor:0.3:length:ten",
    "saturation:1:0.5",
    "saturation:5:2",
    "random:",
    "inverse:1",
    "accuracy:-0.1",
    "bug:",
    "format:(",
    "bug:[",
]


@pytest.mark.parametrize("spec", GOOD)
def test_a_name_reads_as_the_model(spec):
    model = parse_noise(spec)
    assert parse_noise(model.name) == model and model.name == spec


@pytest.mark.parametrize("spec", BAD)
def test_what_is_not_understood_is_refused_with_what_to_write(spec):
    with pytest.raises(NoiseProblem):
        parse_noise(spec)


def test_wrong_settings_are_refused():
    for wrong in (
        lambda: Confusion((0.0, 1.0), ((0.5, 0.6), (0.5, 0.5))),
        lambda: Confusion((0.0, 1.0), ((0.5, 0.5),)),
        lambda: told(Confusion(), [0.5]),
        lambda: told(ScorerOfAccuracy(), [0.5]),
        lambda: Additive(cut=0.0),
        lambda: Drift(from_step=5, to_step=5),
        lambda: Saturation(levels=1),
    ):
        with pytest.raises(NoiseProblem):
            wrong()
