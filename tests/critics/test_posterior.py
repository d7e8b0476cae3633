"""A prompt's record: what it adds up to, how it fades, what it never sees, and that it survives a save."""

import json

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.outcome import Outcome
from critica.critics.base import Remembering
from critica.critics.counted import LeaveOneOutCritic
from critica.critics.posterior import BetaPosterior, BetaPosteriorCritic
from critica.functional.beta import beta_mean, fading
from critica.records.evidence import Evidence
from critica.records.protocols import Stateful
from critics.counted_worlds import groups_of

ROWS = ["cs", "css", "cs", "cs"]
GROUPS = [0, 0, 1, 1]


def step(critic, names, outcomes):
    """One step of predict and remember; the value of each row."""
    batch = token_batch(ROWS, GROUPS)
    told = told_batch(batch, outcomes)
    values = critic.predict(batch, told, groups_of(batch, names))
    critic.remember(batch, told)
    return values.mean[torch.arange(4), 1].tolist()


def test_the_posterior_by_hand():
    critic = BetaPosteriorCritic(BetaPosterior(strength=2.0, half_life_steps=float("inf")))
    assert step(critic, ["a", "b"], [1.0, 1.0, 0.0, 1.0]) == [0.5] * 4  # nothing known yet: one half
    base = (3 + 0.5) / 5
    second = step(critic, ["a", "c"], [0.0, None, 1.0, 1.0])
    assert second == pytest.approx([(2 * base + 2) / 4] * 2 + [base] * 2)
    base = (5 + 0.5) / 8  # the unknown outcome is no zero: seven were told, five of them right
    third = step(critic, ["a", "b"], [0.0, 0.0, 0.0, 0.0])
    assert third == pytest.approx([(2 * base + 2) / 5] * 2 + [(2 * base + 1) / 4] * 2)


def test_old_evidence_fades_by_half_every_half_life():
    critic = BetaPosteriorCritic(BetaPosterior(strength=0.0, half_life_steps=1.0))
    step(critic, ["a", "b"], [1.0, 1.0, 0.0, 0.0])
    step(critic, ["a", "x"], [0.0, 0.0, 0.0, 0.0])  # "a" again one step later: weights 1/2 and 1
    assert step(critic, ["a", "b"], [0.0] * 4) == pytest.approx([1 / 3, 1 / 3, 0.0, 0.0])
    assert fading(3, 1.0) == 0.125 and fading(3, float("inf")) == 1.0


def test_its_own_outcome_does_not_reach_a_prediction():
    for siblings in (False, True):
        values = []
        for own in (0.0, 1.0):
            critic = BetaPosteriorCritic(BetaPosterior(siblings=siblings))
            step(critic, ["a", "b"], [1.0, 0.0, 0.0, 1.0])
            values.append(step(critic, ["a", "b"], [own, 1.0, 0.0, 1.0]))
        assert values[0][0] == values[1][0]
        assert (values[0][1] == values[1][1]) is not siblings  # but it is a sibling's evidence


def test_siblings_alone_are_leave_one_out():
    batch = token_batch(["cs", "cs", "cs", "cs", "cs"], [0, 0, 0, 1, 1])
    told = told_batch(batch, [1.0, 0.0, 1.0, 0.25, None])
    critic = BetaPosteriorCritic(BetaPosterior(strength=0.0, siblings=True, tasks=0))
    mine = critic.predict(batch, told, groups_of(batch, ["a", "b"]))
    theirs = LeaveOneOutCritic().predict(batch, told, Evidence())
    torch.testing.assert_close(mine.mean[theirs.mask], theirs.mean[theirs.mask])
    assert mine.support is not None and mine.support[:3, 1].tolist() == [2.0, 2.0, 2.0]


def test_rewards_of_another_range_are_scaled_there_and_back():
    from dataclasses import replace

    batch = token_batch(ROWS, GROUPS)
    critic = BetaPosteriorCritic(BetaPosterior(strength=0.0, half_life_steps=float("inf")))
    told = replace(told_batch(batch, [-1.0, 1.0, 3.0, 3.0]), low=(-1.0,), high=(3.0,))
    critic.predict(batch, told, groups_of(batch, ["a", "b"]))
    critic.remember(batch, told)
    values = critic.predict(batch, told, groups_of(batch, ["a", "b"]))
    assert values.mean[:, 1].tolist() == pytest.approx([0.0, 0.0, 3.0, 3.0])


def test_it_needs_no_siblings_and_speaks_about_flat_groups():
    critic = BetaPosteriorCritic(BetaPosterior())
    batch = token_batch(["cs"], [0])
    told = told_batch(batch, [1.0])
    values = critic.predict(batch, told, groups_of(batch, ["a"]))
    credit = Outcome("none").estimate(batch, told, values, Evidence())
    assert credit.advantage[0, 1] == 0.5 and not credit.zero_variance.any()


def test_memory_is_bounded_and_forgets_what_is_longest_without_news():
    critic = BetaPosteriorCritic(BetaPosterior(tasks=10))
    step(critic, ["a", "b"], [1.0] * 4)
    for i in range(9):
        step(critic, [f"n{i}", "b"], [1.0] * 4)
    assert set(critic.memory.named) == {"b", *(f"n{i}" for i in range(1, 9))}  # a and n0 went, down to nine


def test_a_saved_memory_continues_to_the_last_bit():
    critic = BetaPosteriorCritic(BetaPosterior(half_life_steps=3.0))
    assert isinstance(critic, Stateful) and isinstance(critic, Remembering)
    step(critic, ["a", "b"], [1.0, 0.3, 0.0, 1.0])
    twin = BetaPosteriorCritic(BetaPosterior(half_life_steps=3.0))
    twin.load_state_dict(json.loads(json.dumps(critic.state_dict(), sort_keys=True)))
    for names in (["a", "c"], ["c", "b"]):
        assert step(critic, names, [0.1, 0.2, 0.7, None]) == step(twin, names, [0.1, 0.2, 0.7, None])


def test_remembering_what_was_never_predicted_is_refused():
    batch = token_batch(ROWS, GROUPS)
    with pytest.raises(RuntimeError, match="never shown"):
        BetaPosteriorCritic(BetaPosterior()).remember(batch, told_batch(batch, [1.0] * 4))


def test_beta_mean_between_its_limits():
    total, count = torch.tensor([3.0, 0.0]), torch.tensor([4.0, 0.0])
    assert beta_mean(total, count, 0.5, 0.0).tolist() == [0.75, 0.5]
    assert beta_mean(total, count, 0.5, 4.0).tolist() == [5 / 8, 0.5]
    torch.testing.assert_close(beta_mean(total, count, 0.2, 1e12), torch.tensor([0.2, 0.2]))


def test_wrong_settings_are_refused():
    for wrong in ({"strength": -1.0}, {"half_life_steps": 0.0}, {"tasks": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            BetaPosterior(**wrong)
