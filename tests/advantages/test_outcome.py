"""Group advantages by hand: GRPO, Dr. GRPO and RLOO, with unknown rows and silent groups."""

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.critics.counted import GroupMeanCritic, LeaveOneOutCritic, NoBaselineCritic
from critica.records.evidence import Evidence

ROWS = ["css", "cs.", "csss", "css", "cs", "cs"]
GROUPS = [0, 0, 0, 1, 1, 1]


def credit(critic, rule, outcomes):
    batch = token_batch(ROWS, GROUPS)
    told = told_batch(batch, outcomes)
    values = critic.predict(batch, told, Evidence())
    return batch, rule.estimate(batch, told, values, Evidence())


def first(batch, result):
    return torch.stack([result.advantage[row][batch.sampled_mask[row]][0] for row in range(batch.rows)])


def test_grpo_by_hand():
    batch, result = credit(GroupMeanCritic(), Outcome("group"), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    deviation = (1 / 3) ** 0.5  # ddof=1 of (1, 0, 0)
    expected = torch.tensor([2 / 3, -1 / 3, -1 / 3, 1 / 3, 1 / 3, -2 / 3]) / (deviation + 1e-6)
    torch.testing.assert_close(first(batch, result), expected)
    assert torch.equal(result.mask, batch.sampled_mask)


def test_rloo_is_group_mean_times_g_over_g_minus_one():
    outcomes = [1.0, 0.25, 0.0, 1.0, 0.5, 0.0]
    batch, mean = credit(GroupMeanCritic(), Outcome("none"), outcomes)
    _, others = credit(LeaveOneOutCritic(), Outcome("none"), outcomes)
    torch.testing.assert_close(others.advantage, mean.advantage * 3 / 2)
    assert float(first(batch, others)[0]) == pytest.approx(1 - 0.125)


def test_a_group_that_fared_alike_is_silent_but_stays_in_the_batch():
    batch, result = credit(GroupMeanCritic(), Outcome("group"), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    assert result.zero_variance.tolist() == [True] * 3 + [False] * 3
    assert bool((result.advantage[:3] == 0).all())
    assert torch.equal(result.mask, batch.sampled_mask)


def test_unknown_rows_get_no_credit_and_leave_the_statistics():
    batch, result = credit(LeaveOneOutCritic(), Outcome("none"), [1.0, None, 0.0, 1.0, None, None])
    assert not result.mask[1].any() and not result.mask[3].any()  # row 3 has no known sibling
    assert first(batch, result)[[0, 2]].tolist() == [1.0, -1.0]


def test_reinforce_has_no_baseline_and_no_silent_groups():
    batch, result = credit(NoBaselineCritic(), Outcome("none"), [1.0, 1.0, 1.0, 0.0, 0.0, 0.5])
    assert first(batch, result).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.5]
    assert not result.zero_variance.any()


def test_standardized_covers_tokens_not_rows():
    _, result = credit(NoBaselineCritic(), Standardized(Outcome("none")), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    tokens = result.advantage[result.mask]
    assert float(tokens.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(tokens.std()) == pytest.approx(1.0, abs=1e-4)
    raw = torch.tensor([1.0] * 2 + [0.0] * 8)  # row 0 has two of the ten tokens
    torch.testing.assert_close(tokens.sort().values, ((raw - raw.mean()) / (raw.std() + 1e-6)).sort().values)


def test_standardized_without_a_center_only_rescales():
    plain = credit(NoBaselineCritic(), Outcome("none"), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])[1].advantage
    rule = Standardized(Outcome("none"), center=False, epsilon=0.5)
    batch, result = credit(NoBaselineCritic(), rule, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    spread = (2 * 0.8**2 + 8 * 0.2**2) / 9  # two of ten tokens are paid 1
    torch.testing.assert_close(result.advantage, plain / (spread**0.5 + 0.5))
    assert float(first(batch, result)[0]) == pytest.approx(1 / (spread**0.5 + 0.5))
    alone = credit(NoBaselineCritic(), rule, [1.0, None, None, None, None, None])[1]
    assert alone.advantage.sum() > 0  # two tokens that are paid alike have no spread
