"""Numca: the table by hand, its limits, an exact game, and what it remembers."""

import json
from collections import defaultdict

import numpy as np
import pytest
import torch

from arrays import told_batch
from critica.advantages.nodes import NodeGae
from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMeanCritic, LeaveOneOutCritic
from critica.critics.numca import NumberSets, NumberSetsCritic
from critica.records.evidence import Evidence
from critics.counted_worlds import Speller, groups_of, sampled, written

PIECES = ["<p>", "1", "2", "3", ",", "x", "."]
COMMA, END = 4, 6
# "1,3." "1,2." "2,1,3." "x."; the last number is the answer and leaves the state
ROWS = [[1, COMMA, 3, END], [1, COMMA, 2, END], [2, COMMA, 1, COMMA, 3, END], [5, END]]
OUTCOMES = [1.0, 0.0, 1.0, 0.0]


def critic(**changes):
    return NumberSetsCritic(NumberSets(**changes), Speller(PIECES))


def predicted(made, rows=None, groups=None, outcomes=None, names=None):
    rows, groups = rows or ROWS, groups or [0] * 4
    batch = written(rows, groups)
    told = told_batch(batch, outcomes or OUTCOMES)
    return batch, told, made.predict(batch, told, groups_of(batch, names or ["a", "b"]))


def test_the_table_by_hand():
    batch, _, values = predicted(critic())
    # sets: {} all four; {1} rows 0, 1; {2} row 2; {1,2} row 2
    assert sampled(batch, values.mean, 0) == [0.5, 0.5, 0.5, 0.5]  # {1}: one right, one wrong
    assert sampled(batch, values.mean, 2) == [0.5, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert sampled(batch, values.support, 2) == [4.0, 4.0, 1.0, 1.0, 1.0, 1.0]
    assert values.nodes is not None
    assert sampled(batch, values.nodes, 2) == [0, 0, 1, 1, 2, 2]
    assert sampled(batch, values.nodes, 3) == [0, 0]
    with_answer = predicted(critic(drop_last=False))[2]
    assert sampled(batch, with_answer.nodes, 0) == [0, 0, 1, 1]  # the 3 is known only after the row's last token


def test_leave_one_out_holds_the_last_value_that_somebody_stands_behind():
    batch, told, values = predicted(critic(leave_one_out=True))
    assert sampled(batch, values.mean, 0) == pytest.approx([1 / 3, 1 / 3, 0.0, 0.0])
    assert sampled(batch, values.mean, 1) == pytest.approx([2 / 3, 2 / 3, 1.0, 1.0])
    assert sampled(batch, values.mean, 2) == pytest.approx([1 / 3] * 6)
    others = LeaveOneOutCritic().predict(batch, told, Evidence())
    torch.testing.assert_close(values.mean[:, 1], others.mean[:, 1])
    flipped = predicted(critic(leave_one_out=True), outcomes=[0.0, 0.0, 1.0, 0.0])[2]
    assert torch.equal(flipped.mean[0], values.mean[0])


def test_text_without_numbers_is_the_group_mean():
    rows = [[5, END], [5, 5, END], [END], [5]]
    batch, told, values = predicted(critic(), rows)
    plain = GroupMeanCritic().predict(batch, told, Evidence())
    torch.testing.assert_close(values.mean, plain.mean)
    assert torch.equal(values.mask, plain.mask)


def test_at_decay_one_a_token_gets_the_outcome_minus_its_node():
    batch, told, values = predicted(critic())
    mine = NodeGae(decay=1.0, epsilon=1e-6).estimate(batch, told, values, Evidence())
    torch.testing.assert_close(mine.advantage, Outcome("group").estimate(batch, told, values, Evidence()).advantage)
    raw = NodeGae(decay=1.0, scale="none").estimate(batch, told, values, Evidence())
    assert sampled(batch, raw.advantage, 2) == [0.5, 0.5, 0.0, 0.0, 0.0, 0.0]


def test_below_decay_one_credit_stays_with_the_step_of_the_value():
    rows = [[2, COMMA, 1, COMMA, 3, END], [2, COMMA, 3, END], [2, COMMA, 3, END], [5, END]]
    batch, told, values = predicted(critic(), rows, outcomes=[1.0, 0.0, 0.5, 0.0])
    assert sampled(batch, values.mean, 0) == pytest.approx([0.375, 0.375, 0.5, 0.5, 1.0, 1.0])
    given = NodeGae(decay=0.5, scale="none").estimate(batch, told, values, Evidence())
    steps = (0.125, 0.5, 0.0)
    first = steps[0] + 0.5 * (steps[1] + 0.5 * steps[2])
    assert sampled(batch, given.advantage, 0) == pytest.approx([first, first, 0.5, 0.5, 0.0, 0.0])


def test_unknown_outcomes_count_nowhere():
    batch, told, values = predicted(critic(), outcomes=[None, 0.0, 1.0, 0.0])
    assert sampled(batch, values.mean, 1) == pytest.approx([1 / 3, 1 / 3, 0.0, 0.0])
    assert not NodeGae().estimate(batch, told, values, Evidence()).mask[0].any()


def test_a_table_is_kept_by_task_and_fades():
    made = critic(half_life_steps=1.0, leave_one_out=True)
    batch, told, _ = predicted(made)
    made.remember(batch, told)
    rows = [[1, COMMA, 3, END]]
    again = predicted(made, rows, [0], [0.0], ["a"])[2]
    assert sampled(written(rows, [0]), again.mean, 0) == [0.5] * 4
    assert sampled(written(rows, [0]), again.support, 0) == [4.0, 4.0, 2.0, 2.0]
    with_own = predicted(critic(), rows, [0], [0.0], ["a"])[2]
    assert sampled(written(rows, [0]), with_own.mean, 0) == [0.0] * 4
    batch, told, _ = predicted(made, rows, [0], [0.0], ["a"])
    made.remember(batch, told)  # four samples now count half, this one fully
    last = predicted(made, rows, [0], [0.0], ["a"])[2]
    assert sampled(written(rows, [0]), last.mean, 0) == pytest.approx([1 / 3, 1 / 3, 0.25, 0.25])
    stranger = predicted(made, rows, [0], [0.0], ["b"])[2]
    assert not stranger.mask.any()  # leave-one-out, and nobody else ever


def test_memory_is_bounded_can_be_off_and_survives_a_save():
    made = critic(states=3)
    batch, told, _ = predicted(made)
    made.remember(batch, told)
    assert len(made.memory.named) == 2
    off = critic(states=0)
    batch, told, _ = predicted(off)
    off.remember(batch, told)
    assert not off.memory.named
    whole, twin = critic(), critic()
    batch, told, _ = predicted(whole)
    whole.remember(batch, told)
    twin.load_state_dict(json.loads(json.dumps(whole.state_dict(), sort_keys=True)))
    assert torch.equal(predicted(whole)[2].mean, predicted(twin)[2].mean)


def test_permuting_a_group_permutes_the_values():
    order = [3, 1, 0, 2]
    _, _, values = predicted(critic())
    _, _, moved = predicted(critic(), [ROWS[i] for i in order], outcomes=[OUTCOMES[i] for i in order])
    torch.testing.assert_close(moved.mean[:, :7], values.mean[order][:, :7])


def test_merging_takes_the_state_to_the_later_number():
    batch, _, values = predicted(critic(interval_tokens=3))
    assert sampled(batch, values.mean, 2) == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]


# A game whose states are numbers: four running sums of steps 1 or 2, right if the last is even; the set of sums so far
# is all that has happened, and the policy takes 2 with probability 0.3.
LONG = ["<p>", ",", *map(str, range(1, 9))]
TWO = 0.3


def play(dice):
    total, sums = 0, []
    for _ in range(4):
        total += 2 if dice.random() < TWO else 1
        sums.append(total)
    return sums, float(total % 2 == 0)


def true_value(total, left):
    if not left:
        return float(total % 2 == 0)
    return TWO * true_value(total + 2, left - 1) + (1 - TWO) * true_value(total + 1, left - 1)


def estimates(count, seed):
    """{state: estimate} and the exact table from `count` games."""
    dice = np.random.default_rng(seed)
    games = [play(dice) for _ in range(count)]
    rows = [[token for total in sums for token in (total + 1, 1)] for sums, _ in games]
    made = NumberSetsCritic(NumberSets(drop_last=False, states=0), Speller(LONG))
    batch, _, values = predicted(made, rows, [0] * count, [outcome for _, outcome in games], ["g"])
    table = defaultdict(list)
    for sums, outcome in games:
        for depth in range(5):
            table[tuple(sums[:depth])].append(outcome)
    found = {tuple(sums[:depth]): sampled(batch, values.mean, row)[2 * depth]
             for row, (sums, _) in enumerate(games) for depth in range(4)}  # fmt: skip
    return found, {state: float(np.mean(told)) for state, told in table.items()}


def test_when_states_are_numbers_it_is_the_exact_table():
    found, table = estimates(200, 0)
    assert len(found) == 15
    for state, value in found.items():
        assert value == pytest.approx(table[state], abs=1e-6)


def test_errors_fall_with_the_root_of_the_samples_and_the_group_mean_keeps_its_own():
    def error(count, seeds):
        off = []
        for seed in seeds:
            found, _ = estimates(count, seed)
            off += [abs(value - true_value(sum(state[-1:]), 4 - len(state))) for state, value in found.items()]
        return float(np.mean(off))

    few, many = error(64, range(8)), error(1024, range(8))
    assert 2.5 < few / many < 6.5  # the root of 16 is 4
    found, _ = estimates(1024, 0)
    spread = [abs(true_value(0, 4) - true_value(sum(state[-1:]), 4 - len(state))) for state in found]
    flat = [abs(found[()] - true_value(sum(state[-1:]), 4 - len(state))) for state in found]
    assert np.mean(flat) == pytest.approx(np.mean(spread), abs=0.02) and np.mean(spread) > 3 * many


def test_wrong_settings_are_refused():
    for wrong in ({"interval_tokens": -1}, {"states": -1}, {"half_life_steps": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            NumberSets(**wrong)
