"""TEMPO: when the tree says something, when it is GRPO, and what its credit adds up to."""

from itertools import product

import pytest
import torch

from arrays import told_batch
from critica.advantages.nodes import NodeGae
from critica.advantages.outcome import Outcome
from critica.advantages.tempo import TreeDifference
from critica.critics.counted import GroupMeanCritic, LeaveOneOutCritic
from critica.critics.tempo import PrefixTree, PrefixTreeCritic
from critica.records.evidence import Evidence
from critics.counted_worlds import sampled, written

ROWS = [[1, 1, 1], [1, 1, 2], [1, 2, 1], [2, 1, 1]]


def credit(rows, groups, outcomes, part=None, rule=None):
    batch = written(rows, groups)
    told = told_batch(batch, outcomes)
    values = PrefixTreeCritic(part or PrefixTree()).predict(batch, told, Evidence())
    return batch, told, values, (rule or TreeDifference()).estimate(batch, told, values, Evidence())


def test_the_published_credit_by_hand():
    batch, _, values, given = credit(ROWS, [0] * 4, [1.0, 0.0, 0.0, 1.0], rule=TreeDifference(scale="none"))
    expected = [
        [0.5 - 1 / 6, 0.5 + 1 / 6, 1.0], [-0.5 - 1 / 6, -0.5 + 1 / 6, -1.0],
        [-0.5 - 1 / 6, -0.5 - 1 / 3, -0.5], [1.0, 0.5, 0.5],
    ]  # fmt: skip
    for row, want in enumerate(expected):
        assert sampled(batch, given.advantage, row) == pytest.approx(want)
    assert values.support is not None and sampled(batch, values.support, 0) == [4.0, 3.0, 2.0]
    deviation = (1 / 3) ** 0.5
    _, _, _, scaled = credit(ROWS, [0] * 4, [1.0, 0.0, 0.0, 1.0])
    torch.testing.assert_close(scaled.advantage, given.advantage / (deviation + 1e-6))


def test_without_brackets_it_is_grpo():
    outcomes = [1.0, 0.0, 0.5, 1.0, 0.0, None]
    rows, groups = [*ROWS, [1, 1], [1]], [0, 0, 0, 1, 1, 1]
    batch, told, _, mine = credit(rows, groups, outcomes, rule=TreeDifference(branch=0.0))
    grpo = Outcome("group").estimate(batch, told, GroupMeanCritic().predict(batch, told, Evidence()), Evidence())
    torch.testing.assert_close(mine.advantage, grpo.advantage, rtol=0, atol=1e-7)
    assert torch.equal(mine.mask, grpo.mask)


def test_answers_that_part_at_once_are_corrected_at_their_first_token_only():
    batch, _, _, given = credit(
        [[1, 7], [2, 7], [3, 7, 7]], [0] * 3, [1.0, 0.0, 0.0], rule=TreeDifference(scale="none")
    )
    assert sampled(batch, given.advantage, 0) == pytest.approx([4 / 3, 2 / 3])
    assert sampled(batch, given.advantage, 2) == pytest.approx([-2 / 3, -1 / 3, -1 / 3])


def test_equal_answers_with_equal_rewards_say_nothing_and_are_silent():
    _, _, _, given = credit([[1, 2]] * 3, [0] * 3, [1.0] * 3)
    assert bool((given.advantage == 0).all()) and given.zero_variance.all()


def test_equal_answers_that_noise_told_apart_get_no_bracket():
    batch, _, values, given = credit([[1, 2]] * 2, [0, 0], [1.0, 0.0], rule=TreeDifference(scale="none"))
    assert sampled(batch, given.advantage, 0) == pytest.approx([0.5, 0.5])
    assert values.bootstrap.tolist() == [0.5, 0.5]


def test_much_shrinkage_is_the_group_mean_and_leave_one_out_starts_at_rloo():
    batch, told, heavy, _ = credit(ROWS, [0] * 4, [1.0, 0.0, 0.0, 1.0], PrefixTree(shrinkage=1e12))
    plain = GroupMeanCritic().predict(batch, told, Evidence())
    torch.testing.assert_close(heavy.mean, plain.mean)
    _, _, alone, _ = credit(ROWS, [0] * 4, [1.0, 0.0, 0.0, 1.0], PrefixTree(leave_one_out=True))
    others = LeaveOneOutCritic().predict(batch, told, Evidence())
    torch.testing.assert_close(alone.mean[:, 1], others.mean[:, 1])
    assert not alone.uses_own_outcome


def test_leave_one_out_never_sees_the_own_outcome():
    seen = [
        credit(ROWS, [0] * 4, [own, 0.0, 0.0, 1.0], PrefixTree(leave_one_out=True, shrinkage=k))[2].mean[0]
        for own in (0.0, 1.0)
        for k in (0.0, 1.0)
    ]
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])


def test_a_row_without_known_siblings_is_not_spoken_about():
    part = PrefixTree(leave_one_out=True)
    _, _, values, given = credit([[1], [1], [1]], [0, 0, 1], [1.0, None, 0.0], part)
    assert not values.mask.any() and not given.mask.any()


def test_permuting_a_group_permutes_the_credit():
    outcomes, order = [1.0, 0.0, 0.0, 1.0], [2, 0, 3, 1]
    _, _, _, given = credit(ROWS, [0] * 4, outcomes)
    _, _, _, moved = credit([ROWS[i] for i in order], [0] * 4, [outcomes[i] for i in order])
    torch.testing.assert_close(moved.advantage, given.advantage[order])


def test_node_gae_and_outcome_agree_on_a_tree_at_decay_one():
    batch, told, values, _ = credit(ROWS, [0] * 4, [1.0, 0.0, 0.0, 1.0])
    spread = NodeGae(decay=1.0, epsilon=1e-6).estimate(batch, told, values, Evidence())
    plain = Outcome("group").estimate(batch, told, values, Evidence())
    torch.testing.assert_close(spread.advantage, plain.advantage)


def test_in_expectation_it_is_reinforce_plus_the_true_advantage_twice_the_policy_gradient():
    """All 27 answers of three tokens, once each: a uniform policy with as many samples as one wants."""
    rows = [list(row) for row in product((1, 2, 3), repeat=3)]
    torch.manual_seed(0)
    outcomes = torch.rand(27).double().tolist()
    batch, _, values, given = credit(rows, [0] * 27, outcomes, rule=TreeDifference(scale="none"))
    logits = {prefix: torch.zeros(3, dtype=torch.double, requires_grad=True)
              for depth in range(3) for prefix in product((1, 2, 3), repeat=depth)}  # fmt: skip

    def logprob(row, t):
        return torch.log_softmax(logits[tuple(row[:t])], -1)[row[t] - 1]

    def gradient(loss):
        return torch.stack(torch.autograd.grad(loss, list(logits.values())))

    value = torch.stack([sum(logprob(row, t) for t in range(3)).exp() * outcomes[i] for i, row in enumerate(rows)])
    true = gradient(value.sum())
    estimate = sum(
        logprob(row, t) * float(given.advantage[i, 1 + t]) / 27 for i, row in enumerate(rows) for t in range(3)
    )
    torch.testing.assert_close(gradient(estimate), 2 * true, atol=1e-6, rtol=1e-5)
    exact = {prefix: sum(outcomes[i] for i, row in enumerate(rows) if tuple(row[: len(prefix)]) == prefix)
             / 3 ** (3 - len(prefix)) for prefix in logits}  # fmt: skip
    for i, row in enumerate(rows):
        assert sampled(batch, values.mean, i) == pytest.approx([exact[tuple(row[:t])] for t in range(3)])


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="shrinkage"):
        PrefixTree(shrinkage=-0.1)
    with pytest.raises(ValueError, match="decay"):
        NodeGae(decay=1.1)
