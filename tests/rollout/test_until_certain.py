"""V_0.5's dynamic budget by enumeration: what stopping does to a mean, to the policy's gradient, and to the error."""

from itertools import product
from math import comb

import numpy as np
import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.fused_value import FusedValue, FusedValueCritic
from critica.critics.prompt_value import PromptValueCritic
from critica.critics.tallies import Tally
from critica.functional.fusion import fused_rate, fused_spread, surprise
from critica.records.evidence import Evidence, Groups
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.budget import Standing
from critica.rollout.until_certain import UntilCertain


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def more(rule, prior, worth, count, total):
    """How many more samples one prompt gets."""
    return rule.wants(Standing(t(prior), t(worth), (count,), (count,), (float(total),), rule.most))[0]


def endings(rule, prior, worth):
    """Every way in which one prompt's sampling may end: waves of outcomes, each 0 or 1."""
    open_ends = [()]
    while open_ends:
        waves = open_ends.pop()
        seen = [x for wave in waves for x in wave]
        wanted = more(rule, prior, worth, len(seen), sum(seen))
        if not wanted:
            yield waves
        open_ends += [(*waves, wave) for wave in product((0, 1), repeat=wanted)] if wanted else []


def chance(waves, rate):
    flat = [x for wave in waves for x in wave]
    return rate ** sum(flat) * (1 - rate) ** (len(flat) - sum(flat))


def test_spread_is_a_beta_posterior_s():
    up, down = 4 * 0.25 + 1 + 0.5, 4 * 0.75 + 1 + 0.5
    variance = up * down / ((up + down) ** 2 * (up + down + 1))
    assert float(fused_spread(t(1.0), t(2.0), t(0.25), t(4.0))) == pytest.approx(variance**0.5)
    assert float(fused_spread(t(0.0), t(2.0), t(0.5), t(0.0))) > 0.15  # two failures alone make nothing certain


@pytest.mark.parametrize(("prior", "rate"), [(0.3, 0.6), (0.8, 0.5), (0.3, 0.3)])
def test_stopping_pulls_a_mean_towards_the_prior_and_leaves_the_ratio_of_means(prior, rate):
    """E[k / N] is biased, E[k] / E[N] is not (Wald)."""
    rule = UntilCertain(first=2, chunk=2, most=8)
    mean = count = wins = total = 0.0
    for waves in endings(rule, prior, 6.0):
        flat, p = [x for wave in waves for x in wave], chance(waves, rate)
        total, count, wins, mean = total + p, count + p * len(flat), wins + p * sum(flat), mean + p * np.mean(flat)
    assert total == pytest.approx(1.0) and count > 2.2
    assert wins / count == pytest.approx(rate, abs=1e-12)
    off = mean - rate
    assert abs(off) > 0.02
    if prior != rate:
        assert np.sign(off) == np.sign(prior - rate)


def group_of(batch, waves):
    task = Task("task", "world", (Message("user", "prompt"),), "")
    said = (ContextTurn(task.messages[-1], (0,)), SampledTurn(Message("assistant", "x"), (1,), (-0.5,), 1.0, 0))
    rows = tuple(
        Trajectory(name, name, "task", "g", "policy", said, StopReason.END_OF_TEXT) for name in batch.trajectory_ids
    )
    return Evidence(Groups((Group("g", task, rows, waves),)))


def critic_of(prior):
    part = FusedValue(most=6.0)
    critic = FusedValueCritic(part, PromptValueCritic(part.prior))
    critic.prior.tallies.overall = Tally(10_000.0, prior * 10_001 - 0.5)
    critic.record = (0.0, 0.0, 1.0)  # worth the most
    return critic


def gradient(rate, prior, told_waves):
    """E[sum_i (r_i - b_i) (r_i - p)] and E[N]: a policy that chooses between two answers, the logit's derivative."""
    rule, critic = UntilCertain(first=2, chunk=2, most=6), critic_of(prior)
    pushed = count = 0.0
    for waves in endings(rule, prior, critic.strength):
        outcomes = [float(x) for wave in waves for x in wave]
        batch = token_batch(["cs"] * len(outcomes), [0] * len(outcomes))
        shown = group_of(batch, tuple(map(len, waves)) if told_waves else ())
        baseline = critic.predict(batch, told_batch(batch, outcomes), shown).mean[:, 1].tolist()
        p = chance(waves, rate)
        pushed += p * sum((x - b) * (x - rate) for x, b in zip(outcomes, baseline, strict=True))
        count += p * len(outcomes)
    return pushed, count


@pytest.mark.parametrize(("prior", "rate"), [(0.3, 0.6), (0.8, 0.35)])
def test_the_gradient_stays_true_where_later_waves_are_not_looked_at(prior, rate):
    """It is E[N] times the true gradient p (1 - p). A baseline over all siblings is off."""
    pushed, count = gradient(rate, prior, told_waves=True)
    assert count > 2.5
    assert pushed == pytest.approx(count * rate * (1 - rate), rel=1e-6)
    biased, _ = gradient(rate, prior, told_waves=False)
    assert abs(biased / (count * rate * (1 - rate)) - 1) > 0.01


def test_siblings_are_those_of_the_same_and_of_earlier_waves():
    critic = critic_of(0.5)
    batch = token_batch(["cs"] * 5, [0] * 5)
    told = told_batch(batch, [1.0, 1.0, 0.0, 1.0, 0.0])
    critic.part = FusedValue(tolerance=0.0)  # the outcomes alone
    values = critic.predict(batch, told, group_of(batch, (2, 2, 1)))
    assert values.mean[:, 1].tolist() == pytest.approx([1.0, 1.0, 1.0, 2 / 3, 3 / 4])
    assert values.support[:, 1].tolist() == [1.0, 1.0, 3.0, 3.0, 4.0]
    whole = critic.predict(batch, told, group_of(batch, ()))
    assert whole.mean[:, 1].tolist() == pytest.approx([0.5, 0.5, 0.75, 0.5, 0.75])


def test_the_track_record_is_of_first_waves():
    """A later outcome changes nothing that is remembered of the prior's worth."""
    records = []
    for last in (0.0, 1.0):
        critic = critic_of(0.5)
        batch = token_batch(["cs"] * 3, [0] * 3)
        told = told_batch(batch, [1.0, 1.0, last])
        critic.predict(batch, told, group_of(batch, (2, 1)))
        critic.remember(batch, told)
        records.append(critic.record)
    assert records[0] == records[1] and records[0][0] == pytest.approx(0.25, abs=1e-3)  # (1 - p)^2 of one group


def stopped_law(rule, prior, worth, rate):
    """Chance of each (count, total) at the end."""
    done, live = {}, {(0, 0): 1.0}
    while live:
        following = {}
        for (count, total), p in live.items():
            wanted = more(rule, prior, worth, count, total)
            if not wanted:
                done[count, total] = done.get((count, total), 0.0) + p
            for wins in range(wanted + 1) if wanted else ():
                way = comb(wanted, wins) * rate**wins * (1 - rate) ** (wanted - wins)
                key = count + wanted, total + wins
                following[key] = following.get(key, 0.0) + p * way
        live = following
    return done


def error(rule, prior, worth, truths):
    """(mean samples, mean squared error of the fused rate) over true rates with weights."""
    samples = squares = 0.0
    for rate, weight in truths:
        for (count, total), p in stopped_law(rule, prior, worth, rate).items():
            fused = float(fused_rate(t(float(total)), t(float(count)), t(prior), worth, rule.tolerance)[0])
            samples, squares = samples + weight * p * count, squares + weight * p * (fused - rate) ** 2
    return samples, squares


@pytest.mark.parametrize("prior", [0.3, 0.9])
def test_extra_samples_where_in_doubt_beat_as_many_evenly(prior):
    """A fifth of the priors mean nothing, the others are worth 16 outcomes."""
    rates = (np.arange(15) + 0.5) / 15
    law = rates ** (16 * prior - 1) * (1 - rates) ** (16 * (1 - prior) - 1)
    weights = 0.8 * law / law.sum() + 0.2 / 15
    truths = list(zip(rates.tolist(), weights.tolist(), strict=True))
    samples, squared = error(UntilCertain(most=12), prior, 6.0, truths)
    evenly = [error(UntilCertain(first=n, most=n), prior, 6.0, truths)[1] for n in range(2, 7)]
    low = int(samples)
    between = evenly[low - 2] + (samples - low) * (evenly[low - 1] - evenly[low - 2])
    assert 2.5 < samples < 5.0
    assert squared < 0.9 * between


def test_what_is_in_doubt_by_hand():
    rule = UntilCertain(first=2, chunk=2, most=8, agreement=1.0, certainty=0.1)
    assert float(surprise(t(2.0), t(2.0), t(0.5), 8.0)) == pytest.approx(0.5 / (0.25 * (0.5 + 0.5 / 9)) ** 0.5)
    assert more(rule, 0.5, 8.0, 2, 2) == 2  # 1.34 standard deviations off
    assert more(rule, 0.5, 8.0, 2, 1) == 0  # just as forecast
    assert more(rule, 0.5, 8.0, 8, 8) == 0  # no more than `most`
    assert more(UntilCertain(certainty=0.2), 0.5, 8.0, 2, 2) == 0  # certain enough
