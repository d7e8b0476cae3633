"""Prefix sums against the double loop, a tree by hand, and the reductions of its values."""

import numpy as np
import pytest
import torch

from critica.functional.node_differences import first_values, moving_share, value_steps
from critica.functional.prefix_tree import prefix_sums, prefix_values


def by_double_loop(ids, lengths, groups, outcome, known):
    rows, width = ids.shape
    sums, counts = torch.zeros(rows, width + 1).double(), torch.zeros(rows, width + 1).double()
    for i in range(rows):
        for t in range(int(lengths[i]) + 1):
            for k in range(rows):
                same = groups[k] == groups[i] and lengths[k] >= t and bool((ids[k, :t] == ids[i, :t]).all())
                if same and known[k]:
                    sums[i, t] += outcome[k]
                    counts[i, t] += 1
    return sums, counts


@pytest.mark.parametrize("seed", range(12))
def test_the_tree_equals_the_double_loop(seed):
    dice = np.random.default_rng(seed)
    rows, width = int(dice.integers(1, 14)), int(dice.integers(1, 9))
    ids = torch.from_numpy(dice.integers(0, 2 + seed % 3, (rows, width)))
    lengths = torch.from_numpy(dice.integers(1, width + 1, rows))
    groups = torch.from_numpy(dice.integers(3, 6, rows))
    known = torch.from_numpy(dice.random(rows) < 0.8)
    outcome = torch.from_numpy(dice.random(rows)).where(known, torch.nan)
    found = prefix_sums(ids, lengths, groups, outcome, known)
    expected = by_double_loop(ids, lengths, groups, outcome, known)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


TREE = torch.tensor([[1, 1, 1], [1, 1, 2], [1, 2, 1], [2, 1, 1]])
REWARD = torch.tensor([1.0, 0.0, 0.0, 1.0]).double()
ALL = torch.ones(4, dtype=torch.bool)


def tree(shrinkage=0.0, leave_one_out=False):
    sums, counts = prefix_sums(TREE, torch.full((4,), 3), torch.zeros(4, dtype=torch.long), REWARD, ALL)
    return prefix_values(sums, counts, REWARD, ALL, shrinkage, leave_one_out)


def test_a_tree_of_four_by_hand():
    values, counts = tree()
    expected = [[1 / 2, 1 / 3, 1 / 2, 1], [1 / 2, 1 / 3, 1 / 2, 0], [1 / 2, 1 / 3, 0, 0], [1 / 2, 1, 1, 1]]
    torch.testing.assert_close(values, torch.tensor(expected).double())
    assert counts.tolist() == [[4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 1, 1], [4, 1, 1, 1]]


def test_without_oneself_a_prefix_that_nobody_shares_keeps_the_last_shared_value():
    values, counts = tree(leave_one_out=True)
    expected = [[1 / 3, 0, 0, 0], [2 / 3, 1 / 2, 1, 1], [2 / 3, 1 / 2, 1 / 2, 1 / 2], [1 / 3] * 4]
    torch.testing.assert_close(values, torch.tensor(expected).double())
    assert counts[3].tolist() == [3, 0, 0, 0]


def test_shrinkage_pulls_to_the_group_and_at_last_is_the_group():
    values, _ = tree(shrinkage=2.0)
    assert float(values[0, 3]) == pytest.approx((1 * 1 + 2 * 0.5) / 3)
    assert float(values[2, 1]) == pytest.approx((3 * (1 / 3) + 2 * 0.5) / 5)
    torch.testing.assert_close(tree(shrinkage=1e12)[0], torch.full((4, 4), 0.5).double())
    alone, _ = tree(shrinkage=2.0, leave_one_out=True)
    torch.testing.assert_close(alone[3], torch.full((4,), 1 / 3).double())
    with pytest.raises(ValueError, match="negative"):
        tree(shrinkage=-1.0)


def test_brackets_telescope_and_cancel_at_every_node():
    values, _ = tree()
    steps = value_steps(values[:, :3].contiguous(), values[:, 3], torch.ones(4, 3, dtype=torch.bool))
    torch.testing.assert_close(steps.sum(-1), REWARD - 0.5)  # every leaf is unique
    for depth in range(3):
        for node in TREE:
            members = (TREE[:, :depth] == node[:depth]).all(-1)
            assert float(steps[members, depth].sum()) == pytest.approx(0.0, abs=1e-12)


def test_steps_skip_context_and_count_what_moves():
    values = torch.tensor([[9.0, 0.2, 9.0, 0.5, 0.5]])
    mask = torch.tensor([[False, True, False, True, True]])
    steps = value_steps(values, torch.tensor([1.0]), mask)
    torch.testing.assert_close(steps, torch.tensor([[0.0, 0.3, 0.0, 0.0, 0.5]]))
    assert first_values(values, mask).tolist() == pytest.approx([0.2])
    assert first_values(values, mask & False).tolist() == [0.0]
    assert moving_share(values, mask) == (1.0, 2.0)  # from 0.2 to 0.5, then it stays
    assert moving_share(values, mask & False) == (0.0, 0.0)
    short = torch.tensor([[True, False, False, False, False]])
    assert moving_share(torch.cat((values, values)), torch.cat((mask, short))) == (1.0, 2.0)
