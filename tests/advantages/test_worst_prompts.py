"""Credit for the worst mix of prompts: by hand for two, plain at radius 0, and the gradient of the worst mix."""

import math

import pytest
import torch

from critica.advantages.outcome import Outcome
from critica.advantages.worst_prompts import WorstPrompts
from critica.critics.counted import GroupMeanCritic
from critica.records.evidence import Evidence
from critica.records.supervision import Abstained, Reward, Scored
from critica.rollout.place import Placement, place
from policies.policies_fixtures import token_batch


class Unit:
    low, high = 0.0, 1.0


def estimated(outcomes, groups, rule):
    batch = token_batch([[(5, "c"), (6, "s"), (7, "s")] for _ in outcomes], groups, [1] * len(outcomes))
    rewards = tuple(
        Reward("r", name, Scored(value) if value is not None else Abstained("asked"))
        for name, value in zip(batch.trajectory_ids, outcomes, strict=True)
    )
    told = place(rewards, batch, Evidence(), Placement(), Unit())
    values = GroupMeanCritic().predict(batch, told, Evidence())
    return rule.estimate(batch, told, values, Evidence())


OUTCOMES, GROUPS = (1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0), [0] * 4 + [1] * 4


def test_radius_zero_is_the_inner_rule_and_a_large_one_leaves_the_worst_prompt_alone():
    plain = estimated(OUTCOMES, GROUPS, Outcome())
    same = estimated(OUTCOMES, GROUPS, WorstPrompts(Outcome(), 0.0))
    assert torch.equal(plain.advantage, same.advantage) and torch.equal(plain.mask, same.mask)
    far = estimated(OUTCOMES, GROUPS, WorstPrompts(Outcome(), 5.0))
    assert not bool(far.advantage[:4].any()) and torch.allclose(far.advantage[4:], 2 * plain.advantage[4:])


def test_two_prompts_by_hand():
    """Means .75 and .25; q = (.2, .8) lies at KL .8 log 1.6 + .2 log .4 from halves, so factors are .4 and 1.6."""
    radius = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    plain = estimated(OUTCOMES, GROUPS, Outcome())
    made = estimated(OUTCOMES, GROUPS, WorstPrompts(Outcome(), radius))
    assert torch.allclose(made.advantage[:4], 0.4 * plain.advantage[:4], atol=1e-5)
    assert torch.allclose(made.advantage[4:], 1.6 * plain.advantage[4:], atol=1e-5)


def test_rows_without_an_outcome_are_not_counted():
    """Prompt 1 has one known row of four: its share is 1 / 5, and a far ball gives it all, five times its credit."""
    told = (1.0, 0.0, 1.0, 1.0, 0.5, None, None, None)
    plain, far = (estimated(told, GROUPS, rule) for rule in (Outcome(), WorstPrompts(Outcome(), 9.0)))
    assert not bool(far.advantage[:4].any()) and not bool(far.mask[5:].any())
    assert torch.allclose(far.advantage[4:], 5 * plain.advantage[4:])
    none = estimated((None,) * 8, GROUPS, WorstPrompts(Outcome(), 1.0))
    assert not bool(none.mask.any())
    with pytest.raises(ValueError, match="radius"):
        WorstPrompts(Outcome(), -1.0)


def test_the_weights_give_the_gradient_of_the_worst_mix():
    """d/dm of min_q sum q m at the worst q: by finite differences of the value over the prompts' means."""
    from critica.functional.robust_losses import kl_ball_weights

    base, means = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([0.9, 0.4, 0.5], dtype=torch.float64)

    def worst(m):
        return float(kl_ball_weights(-m, base, 0.2) @ m)

    for g in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[g] = 1e-5
        slope = (worst(means + step) - worst(means - step)) / 2e-5
        assert slope == pytest.approx(float(kl_ball_weights(-means, base, 0.2)[g]), abs=1e-4)
