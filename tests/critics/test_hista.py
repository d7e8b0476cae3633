"""Hista: nodes and their neighbors by hand, its limits, and a world in which hidden states tell the outcome."""

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.nodes import NodeGae
from critica.advantages.outcome import Outcome
from critica.critics import hista
from critica.critics.counted import GroupMeanCritic, LeaveOneOutCritic
from critica.critics.hista import HiddenNeighbors, HiddenNeighborsCritic
from critica.records.evidence import Evidence, HiddenStates
from critics.counted_worlds import sampled
from functional.test_neighbors import naive_min_distance


def world(lengths, groups=None, width=3, seed=0):
    """A batch of answers of these lengths, and random hidden states before each token and after the last."""
    batch = token_batch(["cc" + "s" * length for length in lengths], groups or [0] * len(lengths), 2)
    torch.manual_seed(seed)
    states = [torch.randn(length + 1, width) for length in lengths]
    for row in states:
        row[0] = 0.0  # all have read the same prompt
    return batch, states


def evidence_of(states):
    return Evidence(HiddenStates(torch.cat([row[:-1] for row in states]), torch.stack([row[-1] for row in states])))


def predicted(part, lengths, outcomes, groups=None, seed=0, scale=1.0):
    batch, states = world(lengths, groups, seed=seed)
    told = told_batch(batch, outcomes)
    values = HiddenNeighborsCritic(part).predict(batch, told, evidence_of([scale * row for row in states]))
    return batch, told, states, values


RAW = {"interval_tokens": 2, "window_tokens": 1, "smoothing": 0.0}
LENGTHS, OUTCOMES = [5, 3, 6, 2], [1.0, 0.0, 0.0, 1.0]


def naive_values(states, outcomes, interval, own, count=None, floor=None):
    """Values at the inner nodes by the definition: {(row, node): value}, weights 1 / max(d / median, floor)."""
    nodes = [(r, i, at) for r, row in enumerate(states)
             for i, at in enumerate([*range(0, len(row) - 1, interval), len(row) - 1])]  # fmt: skip
    distance = {
        (a, b): naive_min_distance(states[a[0]][: a[2] + 1], states[b[0]][: b[2] + 1]) for a in nodes for b in nodes
    }
    apart = torch.tensor([d for (a, b), d in distance.items() if a[0] != b[0] and d > 0]).median()
    found = {}
    for a in nodes:
        pool = [b for b in nodes if (b[0] != a[0] if not own else b[0] != a[0] or b[1] <= a[1])]
        pool = sorted(pool, key=lambda b: distance[a, b])[:count]
        weight = [1 / max(distance[a, b] / float(apart), floor or 0.25) for b in pool]
        found[a[:2]] = sum(w * outcomes[b[0]] for w, b in zip(weight, pool, strict=True)) / sum(weight)
    return found


@pytest.mark.parametrize("own", [True, False])
def test_nodes_and_neighbors_by_the_definition(own):
    part = HiddenNeighbors(**RAW, leave_one_out=not own)
    batch, told, states, values = predicted(part, LENGTHS, OUTCOMES)
    wanted = naive_values(states, OUTCOMES, 2, own)
    flat = (GroupMeanCritic if own else LeaveOneOutCritic)().predict(batch, told, Evidence()).mean[:, 2]
    for row, length in enumerate(LENGTHS):
        expected = [float(flat[row]) if t < 2 else wanted[row, t // 2] for t in range(length)]
        assert sampled(batch, values.mean, row) == pytest.approx(expected, abs=1e-5)
        assert values.nodes is not None and sampled(batch, values.nodes, row) == [t // 2 for t in range(length)]
    assert values.uses_own_outcome is own


def test_one_neighbor_is_the_nearest_other_prefix_and_equal_ones_share():
    part = HiddenNeighbors(**RAW, most=1, fewest=1, leave_one_out=True)
    lengths, outcomes = [5, 4, 6], [0.1, 0.2, 0.3]
    batch, states = world(lengths)
    apart = [
        torch.cat((torch.randn(1, 3, generator=torch.Generator().manual_seed(i)), row[1:]))
        for i, row in enumerate(states)
    ]
    values = HiddenNeighborsCritic(part).predict(batch, told_batch(batch, outcomes), evidence_of(apart))
    wanted = naive_values(apart, outcomes, 2, False, count=1)
    for row, length in enumerate(lengths):
        assert sampled(batch, values.mean, row)[2:] == pytest.approx([wanted[row, t // 2] for t in range(2, length)])
    tied = HiddenNeighborsCritic(part).predict(batch, told_batch(batch, outcomes), evidence_of(states))
    assert sampled(batch, tied.mean, 1)[2:] == pytest.approx([0.2, 0.2])  # the two other starts, one and the same state


def test_a_huge_floor_and_all_neighbors_is_the_mean_over_nodes_not_over_answers():
    part = HiddenNeighbors(**RAW, floor=1e9, most=10**6, fewest=10**6, leave_one_out=True)
    batch, _, _, values = predicted(part, [5, 3, 6], [1.0, 0.0, 0.5])
    count = [4, 3, 4]  # start, inner nodes, end
    assert sampled(batch, values.mean, 0)[2:] == pytest.approx([(count[2] * 0.5) / (count[1] + count[2])] * 3)
    even, same_told, _, equal = predicted(part, [5, 5, 5], [1.0, 0.0, 0.5])
    others = LeaveOneOutCritic().predict(even, same_told, Evidence())
    torch.testing.assert_close(equal.mean, others.mean)


def test_answers_shorter_than_an_interval_have_the_group_mean():
    batch, told, _, values = predicted(HiddenNeighbors(interval_tokens=50), LENGTHS, OUTCOMES)
    torch.testing.assert_close(values.mean, GroupMeanCritic().predict(batch, told, Evidence()).mean)


def test_the_scale_of_the_states_does_not_matter():
    part = HiddenNeighbors(interval_tokens=2, window_tokens=2, smoothing=0.7)
    small, large = (predicted(part, LENGTHS, OUTCOMES, scale=scale)[3] for scale in (1e-3, 1e3))
    torch.testing.assert_close(small.mean, large.mean)


def test_without_oneself_the_own_outcome_does_not_matter_and_with_it_does():
    for leave, same in ((True, True), (False, False)):
        part = HiddenNeighbors(**RAW, leave_one_out=leave)
        one = predicted(part, LENGTHS, [0.0, *OUTCOMES[1:]])[3].mean[0]
        assert torch.equal(one, predicted(part, LENGTHS, OUTCOMES)[3].mean[0]) is same


def test_groups_do_not_mix_and_unknown_rows_are_in_nobody_s_pool():
    part = HiddenNeighbors(**RAW)
    lengths, outcomes = [5, 4, 6, 5, 4, 6], [1.0, 0.0, 0.0, 0.3, 0.6, 0.9]
    both = predicted(part, lengths, outcomes, [0, 0, 0, 1, 1, 1])[3]
    changed = predicted(part, lengths, [*outcomes[:3], 0.0, 0.0, 0.0], [0, 0, 0, 1, 1, 1])[3]
    assert torch.equal(both.mean[:3], changed.mean[:3])
    batch, _, states, values = predicted(part, [5, 4, 6], [1.0, None, 0.0])
    fewer = HiddenNeighborsCritic(part).predict(
        batch.select(torch.tensor([0, 2])), told_batch(batch.select(torch.tensor([0, 2])), [1.0, 0.0]),
        evidence_of([states[0], states[2]]),
    )  # fmt: skip
    torch.testing.assert_close(values.mean[[0, 2]], fewer.mean)
    assert not values.mask[1].any()


def test_permuting_a_group_permutes_the_values():
    part = HiddenNeighbors(interval_tokens=2, window_tokens=2, most=3, fewest=2)
    batch, states = world(LENGTHS)
    order = [2, 0, 3, 1]
    moved = token_batch(["cc" + "s" * LENGTHS[i] for i in order], [0] * 4, 2)
    critic = HiddenNeighborsCritic(part)
    first = critic.predict(batch, told_batch(batch, OUTCOMES), evidence_of(states))
    second = critic.predict(
        moved, told_batch(moved, [OUTCOMES[i] for i in order]), evidence_of([states[i] for i in order])
    )
    torch.testing.assert_close(second.mean, first.mean[order], atol=1e-6, rtol=1e-5)


def test_working_in_pieces_changes_nothing(monkeypatch):
    part = HiddenNeighbors(**RAW)
    whole = predicted(part, LENGTHS, OUTCOMES)[3]
    monkeypatch.setattr(hista, "TABLE_CELLS", 1)
    assert torch.equal(predicted(part, LENGTHS, OUTCOMES)[3].mean, whole.mean)


def test_credit_telescopes_at_decay_one():
    batch, told, _, values = predicted(HiddenNeighbors(**RAW), LENGTHS, OUTCOMES)
    given = NodeGae(decay=1.0, epsilon=1e-6).estimate(batch, told, values, Evidence())
    torch.testing.assert_close(given.advantage, Outcome("group").estimate(batch, told, values, Evidence()).advantage)


def test_where_states_tell_the_outcome_it_beats_the_group_mean():
    """Two regions, right three times in four and one time in four: the error of the group mean is 1/4."""
    dice = torch.Generator().manual_seed(0)
    good = torch.rand(64, generator=dice) < 0.5
    truth = torch.where(good, 0.75, 0.25)
    outcomes = (torch.rand(64, generator=dice) < truth).float().tolist()
    batch, states = world([12] * 64, width=4)
    for row, side in zip(states, good.tolist(), strict=True):
        row[1:, 0] += 6.0 if side else -6.0
    part = HiddenNeighbors(interval_tokens=4, window_tokens=2, most=40, fewest=30, leave_one_out=True)
    values = HiddenNeighborsCritic(part).predict(batch, told_batch(batch, outcomes), evidence_of(states))
    error = (values.mean[:, -1] - truth).abs().mean()
    assert float(error) < 0.12 < 0.2 < float((values.mean[:, 2] - truth).abs().mean())


def test_wrong_settings_are_refused():
    for wrong in (
        {"interval_tokens": 0},
        {"most": 5, "fewest": 6},
        {"smoothing": 1.0},
        {"floor": 0.0},
        {"power": -1.0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            HiddenNeighbors(**wrong)
