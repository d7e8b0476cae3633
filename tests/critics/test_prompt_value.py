"""V_0 and V_0.5 as critics: what they learn from a record, what they never see, and their reductions."""

import json

import numpy as np
import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.counted import LeaveOneOutCritic
from critica.critics.fused_value import FusedValue, FusedValueCritic
from critica.critics.prompt_value import PromptValue, PromptValueCritic
from critica.records.evidence import Evidence
from critics.counted_worlds import groups_of


def fused(**changes):
    part = FusedValue(**changes)
    return FusedValueCritic(part, PromptValueCritic(part.prior))


def step(critic, number, outcomes, prompts, learn=True):
    """One step of four samples each on two prompts; the value of each row."""
    batch = token_batch(["cs"] * 8, [0] * 4 + [1] * 4)
    told = told_batch(batch, outcomes)
    values = critic.predict(batch, told, groups_of(batch, [f"{number}a", f"{number}b"], prompts))
    if learn:
        critic.remember(batch, told)
    return values


def school(critic, steps=40, seed=0):
    """Sums are solved nine times in ten, riddles one time in ten; prompts never come back."""
    dice = np.random.default_rng(seed)
    for number in range(steps):
        prompts = [f"{dice.integers(99)} + {dice.integers(99)} = ", f"riddle {dice.integers(9999)}: who am I?"]
        easy, hard = (dice.random(4) < 0.9).astype(float), (dice.random(4) < 0.1).astype(float)
        step(critic, number, [*easy.tolist(), *hard.tolist()], prompts)
    return critic


def test_new_prompts_are_judged_by_those_that_look_alike():
    critic = school(PromptValueCritic(PromptValue()))
    assert critic.bandwidth < float("inf")
    rates, support = critic.rates(["17 + 5 = ", "riddle 3: who am I?"])
    assert float(rates[0]) > 0.75 and float(rates[1]) < 0.25 and float(support.min()) > 20
    values = step(critic, 99, [0.0] * 8, ["7 + 50 = ", "riddle 4: who am I?"], learn=False)
    assert values.mean[0, 1] > 0.75 > 0.25 > values.mean[7, 1]


def test_text_that_tells_nothing_gives_the_record_s_mean():
    dice = np.random.default_rng(0)
    critic = PromptValueCritic(PromptValue(half_life_steps=float("inf")))
    for number in range(20):
        outcomes = (dice.random(8) < 0.3).astype(float).tolist()
        step(critic, number, outcomes, ["".join(map(chr, dice.integers(97, 123, 12))) for _ in range(2)])
    rates, _ = critic.rates(["abc", "xyz"])
    assert rates.tolist() == pytest.approx([critic.tallies.base_rate()] * 2, abs=0.05)


def test_no_outcome_of_this_step_is_seen():
    for outcomes in ([0.0] * 8, [1.0] * 8):
        critic = school(PromptValueCritic(PromptValue()), steps=12)
        values = step(critic, 99, outcomes, ["1 + 1 = ", "riddle"], learn=False)
        if outcomes[0] == 0.0:
            before = values.mean
    assert torch.equal(before, values.mean)
    one, other = fused(), fused()
    first = step(one, 0, [0.0, *[1.0] * 7], ["a", "b"]).mean[0]
    assert torch.equal(first, step(other, 0, [1.0] * 8, ["a", "b"]).mean[0])


@pytest.mark.parametrize("make", [lambda: PromptValueCritic(PromptValue(prompts=30)), fused])
def test_a_saved_record_continues_to_the_last_bit(make):
    critic, twin = school(make(), steps=21), make()
    twin.load_state_dict(json.loads(json.dumps(critic.state_dict(), sort_keys=True)))
    for number in range(100, 112):
        outcomes = [0.0, 1.0, 1.0, None, 0.0, 0.3, 0.0, 1.0]
        left, right = (step(c, number, outcomes, [f"{number} + 1 = ", f"riddle {number}"]) for c in (critic, twin))
        assert torch.equal(left.mean, right.mean)


def test_a_record_is_bounded():
    critic = school(PromptValueCritic(PromptValue(prompts=10)), steps=9)
    assert len(critic.tallies.named) <= 10 and set(critic.texts) == set(critic.tallies.named)


def test_without_a_prior_it_is_leave_one_out():
    for settings in ({"most": 0.0}, {"tolerance": 0.0}):
        critic = fused(**settings)
        outcomes = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]
        values = step(critic, 0, outcomes, ["a", "b"])
        batch = token_batch(["cs"] * 8, [0] * 4 + [1] * 4)
        others = LeaveOneOutCritic().predict(batch, told_batch(batch, outcomes), Evidence())
        torch.testing.assert_close(values.mean, others.mean)


def test_with_one_sample_a_prompt_it_is_its_prior():
    critic = school(fused(), steps=20)
    batch = token_batch(["cs"] * 2, [0, 1])
    prompts = ["4 + 4 = ", "riddle 8: who am I?"]
    values = critic.predict(batch, told_batch(batch, [1.0, 0.0]), groups_of(batch, ["x", "y"], prompts))
    assert values.mean[:, 1].tolist() == pytest.approx(critic.prior.rates(prompts)[0].tolist())


def test_a_good_prior_earns_weight_and_a_bad_one_loses_it():
    good = school(fused(), steps=60).strength
    dice = np.random.default_rng(1)
    blind = fused()
    for number in range(60):  # each prompt is all right or all wrong, and its text tells nothing
        outcomes = [float(dice.random() < 0.5)] * 4 + [float(dice.random() < 0.5)] * 4
        step(blind, number, outcomes, [f"{dice.integers(9999)}", f"{dice.integers(9999)}"])
    assert good > 5.0 and blind.strength < 1.0  # four at the start


def test_fusing_beats_both_of_its_parts():
    """Prompts' rates scatter around what their text says; four samples each."""
    dice = np.random.default_rng(2)
    critic, off = fused(), {"fused": [], "prior": [], "siblings": []}
    for number in range(120):
        kinds = [("+", 0.75), ("riddle", 0.3)]
        rates = [dice.beta(8 * p, 8 * (1 - p)) for _, p in kinds]
        prompts = [f"{kind} {dice.integers(99)}" for kind, _ in kinds]
        outcomes = np.concatenate([(dice.random(4) < rate).astype(float) for rate in rates])
        batch = token_batch(["cs"] * 8, [0] * 4 + [1] * 4)
        told = told_batch(batch, outcomes.tolist())
        values = critic.predict(batch, told, groups_of(batch, [f"{number}a", f"{number}b"], prompts)).mean[:, 1].numpy()
        truth = np.repeat(rates, 4)
        siblings = LeaveOneOutCritic().predict(batch, told, Evidence()).mean[:, 1].numpy()
        if number >= 40:
            off["fused"] += ((values - truth) ** 2).tolist()
            off["prior"] += ((np.repeat(critic.prior.rates(prompts)[0].numpy(), 4) - truth) ** 2).tolist()
            off["siblings"] += ((siblings - truth) ** 2).tolist()
        critic.remember(batch, told)
    error = {name: float(np.mean(values)) for name, values in off.items()}
    assert error["fused"] < 0.95 * error["prior"] and error["fused"] < 0.5 * error["siblings"]


def test_wrong_settings_are_refused():
    for wrong in ({"strength": -1.0}, {"prompts": 0}, {"half_life_steps": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PromptValue(**wrong)
    for wrong in ({"tolerance": -1.0}, {"most": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FusedValue(**wrong)
