"""Smoothing, distances between prefixes, and neighbors: by hand, by the naive loop, and at their limits."""

import pytest
import torch

from critica.functional.neighbors import neighbor_counts, neighbor_values, prefix_distances, smoothed, typical_distance


def naive_min_distance(first, second):
    """The definition, one pair at a time; the mean over `first` when the lengths are equal."""
    table = [[float((a - b).square().sum().sqrt()) for b in second] for a in first]
    if len(first) >= len(second):
        return sum(min(row) for row in table) / len(first)
    return sum(min(table[i][j] for i in range(len(first))) for j in range(len(second))) / len(second)


def released_smoothing(states, keep):
    """What the released code does: starts at the first state and divides all the same."""
    mean, out = states[:, 0], []
    for k in range(states.shape[1]):
        mean = states[:, k] if k == 0 else keep * mean + (1 - keep) * states[:, k]
        out.append(mean / (1 - keep ** (k + 1)))
    return torch.stack(out, 1)


def test_smoothing_is_a_weighted_mean_by_hand():
    states = torch.tensor([[[1.0], [4.0], [2.0]]]).double()
    a = 0.5
    expected = [1.0, (a * 1 + 4) / (a + 1), (a * a * 1 + a * 4 + 2) / (a * a + a + 1)]
    torch.testing.assert_close(smoothed(states, a)[0, :, 0], torch.tensor(expected).double())
    assert torch.equal(smoothed(states, 0.0), states)
    changed = states.clone()
    changed[0, 2] = 99.0
    assert torch.equal(smoothed(changed, a)[:, :2], smoothed(states, a)[:, :2])


def test_a_still_sequence_stays_where_the_released_code_blows_its_start_up():
    still = torch.ones(1, 30, 4).double() * 3
    torch.testing.assert_close(smoothed(still, 0.7), still)
    released = released_smoothing(still, 0.7)
    assert float(released[0, 0, 0]) == pytest.approx(3 / 0.3)
    torch.testing.assert_close(released[:, -1], still[:, -1], rtol=1e-4, atol=0)
    with pytest.raises(ValueError, match="keep"):
        smoothed(still, 1.0)


def test_every_prefix_pair_equals_the_naive_double_loop():
    torch.manual_seed(0)
    first, second = torch.randn(3, 5, 2).double(), torch.randn(2, 4, 2).double()
    ends_first = torch.arange(1, 6).expand(3, -1)
    ends_second = torch.arange(1, 5).expand(2, -1)
    found = prefix_distances(first, second, ends_first, ends_second)
    for p in range(3):
        for q in range(2):
            for m in range(1, 6):
                for n in range(1, 5):
                    want = naive_min_distance(first[p, :m], second[q, :n])
                    assert float(found[p, m - 1, q, n - 1]) == pytest.approx(want, abs=1e-12)


def between(first, second):
    return float(
        prefix_distances(first[None], second[None], torch.tensor([[len(first)]]), torch.tensor([[len(second)]]))
    )


def test_what_min_distance_is_blind_to_and_what_not():
    torch.manual_seed(1)
    long, short, other = torch.randn(6, 3), torch.randn(4, 3), torch.randn(4, 3)
    assert between(long, long) == 0.0
    assert between(long, short.repeat_interleave(torch.tensor([1, 2, 1, 1]), 0)) == pytest.approx(between(long, short))
    assert between(long, short) == pytest.approx(between(short, long))
    assert between(short, other) != pytest.approx(between(other, short))  # equal lengths: the mean over the first


def test_neighbors_by_hand():
    distances = torch.tensor([[1.0, 2.0, 4.0, 0.1]]).double()
    outcome = torch.tensor([1.0, 0.0, 1.0, 0.0]).double()
    every = torch.ones(1, 4, dtype=torch.bool)
    value, count = neighbor_values(distances, every, outcome, torch.tensor([3]), floor=0.5, power=1.0)
    assert float(value) == pytest.approx(1.0 / (1.0 + 0.5 + 2.0)) and int(count) == 3
    value, _ = neighbor_values(distances, every, outcome, torch.tensor([99]), floor=0.5, power=2.0)
    assert float(value) == pytest.approx((1 + 1 / 16) / (1 + 1 / 4 + 1 / 16 + 4))
    value, count = neighbor_values(distances, every, outcome, torch.tensor([4]), floor=1e9, power=1.0)
    assert float(value) == pytest.approx(0.5)
    near = every & torch.tensor([True, True, True, False])
    value, _ = neighbor_values(distances, near, outcome, torch.tensor([1]), floor=0.5, power=1.0)
    assert float(value) == 1.0
    assert [float(x) for x in neighbor_values(distances, ~every, outcome, torch.tensor([2]), 0.5, 1.0)] == [0.0, 0.0]
    with pytest.raises(ValueError, match="floor"):
        neighbor_values(distances, every, outcome, torch.tensor([2]), 0.0, 1.0)


def test_ties_count_together_whatever_their_order():
    distances = torch.tensor([[1.0, 1.0, 1.0, 3.0]])
    every = torch.ones(1, 4, dtype=torch.bool)
    for outcome in ([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]):
        value, count = neighbor_values(distances, every, torch.tensor(outcome), torch.tensor([2]), 0.5, 1.0)
        assert float(value) == pytest.approx(1 / 3) and int(count) == 3


def test_fewer_neighbors_later_and_a_median_that_ignores_what_is_the_same():
    position, nodes = torch.arange(4), torch.full((4,), 4)
    assert neighbor_counts(position, nodes, 66, 6).tolist() == [66, 51, 36, 21]
    assert neighbor_counts(position, nodes, 3, 3).tolist() == [3] * 4
    distances = torch.tensor([[0.0, 5.0], [2.0, 9.0]])
    assert float(typical_distance(distances, torch.ones(2, 2, dtype=torch.bool))) == 5.0
    assert float(typical_distance(distances * 0, torch.ones(2, 2, dtype=torch.bool))) == 1.0
