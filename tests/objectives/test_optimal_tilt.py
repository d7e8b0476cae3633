"""A*-PO's target by hand, its two limits, and the law that regression on it leads to."""

import math
from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.optimal_tilt import OptimalTilt
from critica.objectives.direct_advantage import LogRatioRegression
from critica.records.arrays import ValuePrediction
from critica.records.evidence import Evidence, ReferenceLogprobs
from objectives.test_preference import F64, INITIAL, REWARD, START, grid, loss_of, minimized, tilted


def asked(outcomes, groups, reference, behavior):
    """One token an answer, with its log-probs under the reference and the policy that sampled it."""
    batch = token_batch(["cs"] * len(outcomes), groups)
    batch = replace(batch, behavior_logprobs=grid(behavior).float())
    zero = torch.zeros(batch.rows, 2)
    values = ValuePrediction(zero, batch.sampled_mask, zero[:, 0])
    return batch, told_batch(batch, outcomes), values, Evidence(ReferenceLogprobs("initial", grid(reference)))


def test_the_target_by_hand():
    even = torch.full((5,), math.log(0.5), dtype=F64)
    made = asked([1.0, 0.0, 0.0, None, 1.0], [0, 0, 0, 0, 1], even, even)
    credit = OptimalTilt(0.5, 0.1).estimate(*made)
    best = 0.5 * math.log((math.exp(2.0) + 2) / 3)
    assert credit.advantage[:, 1].tolist() == pytest.approx(
        [(1 - best) / 0.1, -best / 0.1, -best / 0.1, 0.0, 0.0], rel=1e-5
    )
    assert credit.mask[:, 1].tolist() == [True, True, True, False, False]  # one alone has no sibling to compare with


def test_answers_are_weighed_back_to_the_reference():
    reference, behavior = torch.tensor([0.1, 0.9], dtype=F64).log(), torch.tensor([0.6, 0.4], dtype=F64).log()
    credit = OptimalTilt(0.5, 1.0).estimate(*asked([1.0, 0.0], [0, 0], reference, behavior))
    right, wrong = 0.1 / 0.6, 0.9 / 0.4
    best = 0.5 * math.log((right * math.exp(2.0) + wrong) / (right + wrong))
    assert credit.advantage[0, 1].item() == pytest.approx(1 - best, rel=1e-5)


def test_the_value_lies_between_the_mean_and_the_best():
    even = torch.full((4,), -1.0, dtype=F64)
    made = asked([1.0, 0.0, 0.5, 0.0], [0] * 4, even, even)
    assert OptimalTilt(1e4, 1.0).estimate(*made).advantage[0, 1].item() == pytest.approx(1 - 0.375, abs=1e-3)
    assert OptimalTilt(1e-3, 1.0).estimate(*made).advantage[0, 1].item() == pytest.approx(0.0, abs=2e-3)


def test_regression_at_one_temperature_rests_at_the_optimum_of_reward_less_kl():
    """Ten draws in the proportions of START, weighed back to INITIAL."""
    arms = [0] * 4 + [1] * 3 + [2] * 2 + [3]
    batch, told, values, evidence = asked(
        [float(REWARD[arm]) for arm in arms], [0] * 10, INITIAL.log()[arms], START.log()[arms]
    )
    credit = OptimalTilt(0.6, 0.6).estimate(batch, told, values, evidence)
    found = minimized(
        lambda logs: loss_of(LogRatioRegression(), batch, told, credit, grid(logs[arms]), grid(INITIAL.log()[arms]))[0],
        START.log(),
    )
    assert float((found - tilted(INITIAL, REWARD / 0.6)).abs().max()) < 1e-6


def test_temperatures_are_positive():
    with pytest.raises(ValueError, match="above 0"):
        OptimalTilt(0.5, 0.0)
