"""Group statistics: by hand, and by what they do to a policy gradient, enumerated exactly over every group."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critica.functional.groups import (
    group_mean,
    group_sizes,
    group_std,
    leave_one_out_mean,
    outcome_scale,
    standardize,
    zero_variance_groups,
)

F64 = torch.float64
NAN = float("nan")
# Groups 7 (three known: 1, 0, 1), 3 (one known), -2 (none known), 9 (two equal ones); interleaved.
OUTCOME = torch.tensor([1, NAN, 5, 0, NAN, 1, 0.1, NAN, 0.1], dtype=F64)
INDEX = torch.tensor([7, 7, 3, 7, -2, 7, 9, 3, 9])
KNOWN = ~OUTCOME.isnan()


def test_hand_numbers_and_unknown_rows():
    assert group_sizes(KNOWN, INDEX).tolist() == [3, 3, 1, 3, 0, 3, 2, 1, 2]
    expected = [2 / 3, 2 / 3, 5, 2 / 3, 0, 2 / 3, 0.1, 5, 0.1]
    assert group_mean(OUTCOME, KNOWN, INDEX).tolist() == pytest.approx(expected)
    means, defined = leave_one_out_mean(OUTCOME, KNOWN, INDEX)
    assert defined.tolist() == [True, False, False, True, False, True, True, False, True]
    assert means.tolist() == pytest.approx([0.5, 0, 0, 1, 0, 0.5, 0.1, 0, 0.1])
    spread = math.sqrt(1 / 3)  # ddof=1 of (1, 0, 1)
    assert group_std(OUTCOME, KNOWN, INDEX).tolist() == pytest.approx(
        [spread, spread, 0, spread, 0, spread, 0, 0, 0], abs=1e-15
    )
    assert zero_variance_groups(OUTCOME, KNOWN, INDEX).tolist() == [
        False,
        False,
        True,
        False,
        True,
        False,
        True,
        True,
        True,
    ]


def test_equal_outcomes_have_no_variance_whatever_their_rounding():
    outcome = torch.full((7,), 0.1)
    same = torch.zeros(7, dtype=torch.long)
    every = torch.ones(7, dtype=torch.bool)
    assert zero_variance_groups(outcome, every, same).all()
    assert not group_std(outcome, every, same).any()
    assert (outcome_scale("group", outcome, every, same) == 1).all()


def test_scales():
    spread = group_std(OUTCOME, KNOWN, INDEX)
    assert torch.equal(outcome_scale("group", OUTCOME, KNOWN, INDEX, 1e-6), torch.where(spread > 0, spread + 1e-6, 1.0))
    step = OUTCOME[KNOWN].std(correction=1) + 1e-6
    assert outcome_scale("batch", OUTCOME, KNOWN, INDEX).tolist() == pytest.approx([step.item()] * 9)
    assert (outcome_scale("none", OUTCOME, KNOWN, INDEX) == 1).all()
    with pytest.raises(Exception, match=r"batch|'std'"):
        outcome_scale("std", OUTCOME, KNOWN, INDEX)


@given(st.integers(0, 10**6), st.integers(1, 12))
@settings(max_examples=30)
def test_row_order_and_names_do_not_matter_and_nothing_leaks(seed, rows):
    source = torch.Generator().manual_seed(seed)
    outcome = torch.randn(rows, generator=source, dtype=F64)
    known = torch.rand(rows, generator=source) < 0.7
    outcome[~known] = NAN
    index = torch.randint(3, (rows,), generator=source)
    order = torch.randperm(rows, generator=source)
    for function in (group_mean, group_std, lambda *a: leave_one_out_mean(*a)[0]):
        plain = function(outcome, known, index)
        assert plain.isfinite().all()
        moved = function(outcome[order], known[order], 100 - 7 * index[order])
        torch.testing.assert_close(moved, plain[order], atol=1e-12, rtol=0)
    shifted, defined = leave_one_out_mean(outcome + 5, known, index)
    torch.testing.assert_close(shifted[defined], (leave_one_out_mean(outcome, known, index)[0] + 5)[defined])
    # Leave-one-out by definition: the group mean after forgetting the row.
    for row in defined.nonzero()[:, 0].tolist():
        without = known.clone()
        without[row] = False
        assert shifted[row].item() == pytest.approx(group_mean(outcome + 5, without, index)[row].item())


def test_leave_one_out_is_the_group_mean_scaled():
    outcome, index = torch.randn(12, dtype=F64), torch.arange(12) // 4
    known = torch.ones(12, dtype=torch.bool)
    left = outcome - leave_one_out_mean(outcome, known, index)[0]
    torch.testing.assert_close(left, 4 / 3 * (outcome - group_mean(outcome, known, index)))


def test_standardize_is_over_all_masked_tokens():
    values = torch.tensor([[1.0, 100.0], [3.0, 5.0]], dtype=F64)
    mask = torch.tensor([[True, False], [True, True]])
    expected = torch.tensor([[-2, 0], [0, 2]], dtype=F64) / (2 + 1e-6)
    torch.testing.assert_close(standardize(values, mask), expected)
    assert not standardize(torch.full((2, 2), 0.1), mask).any()
    assert not standardize(values, torch.tensor([[True, False], [False, False]])).any()


# Exact policy gradients: every group of N actions, weighted by its probability.


def effective_weight(probabilities, good, size, credit):
    """W with E[estimate] = W grad p, and the part of the estimate off the axis of grad p."""
    policy = torch.tensor(probabilities, dtype=F64)
    score = torch.eye(len(policy), dtype=F64) - policy  # d log pi(a) / d logits
    actions = torch.cartesian_prod(*[torch.arange(len(policy))] * size)
    outcome = torch.tensor(good, dtype=F64)[actions]
    index = torch.arange(len(actions)).repeat_interleave(size)
    known = torch.ones(index.shape, dtype=torch.bool)
    advantages = credit(outcome.flatten(), known, index).reshape(outcome.shape)
    estimates = (advantages[..., None] * score[actions]).mean(1)
    expected = policy[actions].prod(1) @ estimates
    slope = (policy * torch.tensor(good, dtype=F64)) @ score
    weight = (expected @ slope / (slope @ slope)).item()
    return weight, (expected - weight * slope).abs().max().item()


def reinforce(outcome, known, index):
    return outcome


def rloo(outcome, known, index):
    return outcome - leave_one_out_mean(outcome, known, index)[0]


def dr_grpo(outcome, known, index):
    return outcome - group_mean(outcome, known, index)


def grpo(outcome, known, index):
    return dr_grpo(outcome, known, index) / outcome_scale("group", outcome, known, index, 0.0)


def grpo_closed_form(p, size):
    total = 0.0
    for k in range(1, size):
        mean = k / size
        spread = math.sqrt(size / (size - 1) * mean * (1 - mean))
        chance = math.comb(size, k) * p**k * (1 - p) ** (size - k)
        total += chance * (k * (1 - mean) / (spread * p) + (size - k) * mean / (spread * (1 - p)))
    return total / size


POLICIES = [
    ([0.5, 0.2, 0.3], [0.0, 1.0, 0.0], 8),
    ([0.1, 0.6, 0.2, 0.1], [1.0, 0.0, 0.0, 1.0], 6),
    ([0.3, 0.1, 0.2, 0.15, 0.05, 0.2], [1.0, 1.0, 0.0, 1.0, 0.0, 0.0], 4),
]


@pytest.mark.parametrize(("policy", "good", "size"), POLICIES)
def test_estimators_weigh_prompts_as_derived(policy, good, size):
    p = sum(a * b for a, b in zip(policy, good, strict=True))
    expected = {reinforce: 1.0, rloo: 1.0, dr_grpo: 1 - 1 / size, grpo: grpo_closed_form(p, size)}
    for credit, weight in expected.items():
        found, off_axis = effective_weight(policy, good, size, credit)
        assert found == pytest.approx(weight, abs=1e-12), credit.__name__
        assert off_axis < 1e-14, credit.__name__


@pytest.mark.parametrize(("p", "weight"), [(0.02, 2.41), (0.1, 2.18), (0.3, 1.84), (0.6, 1.76), (0.95, 2.31)])
def test_grpo_weights_of_the_note(p, weight):
    found, _ = effective_weight([p, (1 - p) / 2, (1 - p) / 2], [1.0, 0.0, 0.0], 8, grpo)
    assert found == pytest.approx(weight, abs=0.006)


def test_rloo_stays_unbiased_for_graded_outcomes_and_grpo_does_not():
    policy, good = [0.5, 0.2, 0.3], [0.0, 1.0, 0.4]
    for credit, weight in ((reinforce, 1.0), (rloo, 1.0), (dr_grpo, 0.75)):
        found, off_axis = effective_weight(policy, good, 4, credit)
        assert (found, off_axis) == (pytest.approx(weight), pytest.approx(0, abs=1e-14))
    assert effective_weight(policy, good, 4, grpo)[1] > 1e-3
