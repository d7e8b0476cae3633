"""Mid-anchor matching on a tree of places whose shortest way is known, by enumeration of every walk."""

import itertools

import pytest

from critica.functional.anchors import matched, overlap
from critica.objectives.gold_actions import GoldActions, ReachedAnchors, gold_steps
from critica.records.views import UnreadableView
from critica.records.words import ContextTurn, Message, SampledTurn, Task

DEPTH, WAYS = 4, "lr"


def place(walk):
    """The name of where a walk ends: every walk of the tree ends somewhere else."""
    return "p" + "".join(walk)


def steps_of(gold):
    """The right way as a task tells it."""
    reached = [[place(gold[:k]) for k in range(1, step + 1)] for step in range(len(gold))]
    return [{"reached": there, "action": action} for there, action in zip(reached, gold, strict=True)]


def task_of(gold):
    return Task("t", "none", (Message("user", "find it"),), "", {"gold_steps": steps_of(gold)})


def turns_of(walk):
    """What was said before each turn of a walk: the task, then moves and the places that they reached."""
    turns = [ContextTurn(Message("user", "find it"), (1,))]
    for k, move in enumerate(walk, 1):
        turns.append(SampledTurn(Message("assistant", move), (2,), (-1.0,), 1.0, 0))
        turns.append(ContextTurn(Message("user", f"you reach {place(walk[:k])}"), (3,)))
    return tuple(turns)


@pytest.mark.parametrize("gold", list(itertools.product(WAYS, repeat=DEPTH))[::5])
def test_every_state_of_every_walk_is_matched_exactly_where_it_is_on_the_way(gold):
    matcher, task = ReachedAnchors(r"p[lr]+"), task_of(gold)
    for walk in itertools.product(WAYS, repeat=DEPTH):
        turns = turns_of(walk)
        for taken in range(DEPTH):
            told = matcher.next_action(task, turns[: 1 + 2 * taken])
            assert told == (gold[taken] if walk[:taken] == gold[:taken] else "")


def test_a_looser_match_takes_the_nearest_anchor():
    matcher = ReachedAnchors(r"p[lr]+", least=0.5)
    off = turns_of("rr")[:3] + turns_of("l")[1:]  # reached pr and pl; the way had reached pl
    assert matcher.next_action(task_of("lrl"), off) == "r"
    assert ReachedAnchors(r"p[lr]+", least=0.6).next_action(task_of("lrl"), off) == ""


def test_the_overlap_is_jaccards():
    a, b = frozenset("abc"), frozenset("bcde")
    assert overlap(a, b) == pytest.approx(2 / 5) and overlap(frozenset(), frozenset()) == 1.0
    assert overlap(a, frozenset()) == 0.0


def test_among_steps_that_reach_nothing_new_the_turn_decides():
    way = [frozenset(), frozenset(), frozenset("a"), frozenset("a"), frozenset("a")]
    assert [matched(frozenset("a"), way, 1.0, turn) for turn in (0, 2, 3, 9)] == [2, 2, 3, 4]
    assert matched(frozenset("b"), way, 1.0, 0) == -1 and matched(frozenset(), [], 1.0, 0) == -1


def test_a_single_answer_is_one_action_taken_at_the_start():
    task = Task("t", "none", (Message("user", "2+2="),), "4")
    assert gold_steps(task) == [(frozenset(), "4")]
    turns = turns_of("l")
    assert ReachedAnchors().next_action(task, turns[:1]) == "4"
    assert ReachedAnchors().next_action(task, turns) == ""
    assert GoldActions().opening(task)[0].content == "2+2=\nThe next right action is 4"


@pytest.mark.parametrize("told", [{}, {"gold_steps": []}, {"gold_steps": ["l"]}, {"gold_steps": [{"action": "l"}]}])
def test_a_task_without_a_way_is_refused(told):
    with pytest.raises(UnreadableView, match=r"info\.gold_steps"):
        gold_steps(Task("t", "none", (Message("user", "q"),), "", told))


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="no regular expression"):
        ReachedAnchors("(")
    with pytest.raises(ValueError, match="share of overlap"):
        ReachedAnchors(least=0.0)
    with pytest.raises(ValueError, match="must name"):
        GoldActions(template="do it")
