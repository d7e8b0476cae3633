"""Ladders: one parent each, easier the deeper, nothing held out, and a resume at the very next rung."""

from itertools import islice

import pytest

from critica.curricula.base import Budget
from critica.curricula.ladder import Ladder, tree
from critica.environments.arithmetic import Arithmetic, evaluate, parse
from critica.environments.base import EnvironmentProblem
from critica.environments.digit_sum import DigitSum
from critica.environments.easier import easier, size, without
from critica.environments.splits import normalize, split_of
from critica.functional.random import generator
from critica.policies.base import SampleLimits

ENVIRONMENT = Arithmetic(difficulty=5).build(3)
BUDGET = Budget(4, 2, SampleLimits(8), 0, False)


def trees(count=30, depth=3, branching=3):
    return [tree(ENVIRONMENT, root, depth, branching) for root in islice(ENVIRONMENT.tasks("train"), count)]


def expression(task):
    return parse(task.info["expression"])


def test_every_variant_has_one_parent_and_is_easier_than_it():
    made = trees()
    assert sum(len(nodes) for nodes in made) > 150
    for nodes in made:
        names = [node.task.task_id for node in nodes]
        assert len(names) == len(set(names)) and nodes[0].parent == "" and nodes[0].depth == 0
        by_name = {node.task.task_id: node for node in nodes}
        for node in nodes[1:]:
            parent = by_name[node.parent]
            assert parent.depth == node.depth - 1
            here, above = size(expression(node.task)), size(expression(parent.task))
            assert here[0] <= above[0] and here[1] <= above[1] and here != above
            assert node.task.answer == str(evaluate(expression(node.task)))
            assert ENVIRONMENT.score(node.task, ENVIRONMENT.demonstration(node.task)) == 1.0
            assert ENVIRONMENT.score(node.task, f"{int(node.task.answer) + 1}") == 0.0


def test_trees_hold_each_prompt_once_and_none_that_is_held_out():
    prompts = [[normalize(node.task.prompt) for node in nodes] for nodes in trees()]
    assert all(len(row) == len(set(row)) for row in prompts)
    assert {split_of(prompt) for row in prompts for prompt in row} == {"train"}
    variants = [task for nodes in trees(30, 1) for task in ENVIRONMENT.variants(nodes[0].task, 3)]
    assert {split_of(task.prompt) for task in variants} == {"warm_start", "train", "held_out"}


def test_variants_depend_on_the_task_alone():
    roots = list(islice(ENVIRONMENT.tasks("train"), 5))
    again = Arithmetic(difficulty=5).build(3)
    for root in reversed(roots):
        assert again.variants(root, 3) == ENVIRONMENT.variants(root, 3)
        assert again.variants(root, 3)[:2] == ENVIRONMENT.variants(root, 2)


def test_terms_go_with_their_operators_and_numbers_are_halved_upwards():
    line = (8, "+", 5, "*", 3)
    assert without(line, 1) == (8, "*", 3) and without(line, 2) == (8, "+", 5)
    drawn = {easier(line, generator(0, "test", i)) for i in range(40)}
    assert drawn == {(8, "*", 3), (8, "+", 5), (4, "+", 3, "*", 2)}
    assert easier((1, "+", 1), generator(0, "test")) == (1, "+", 1)
    assert easier((1, "-", 1, "+", 1), generator(0, "test")) in {(1, "-", 1), (1, "+", 1)}


def test_drawn_from_the_easiest_up_to_the_task_itself():
    live = Ladder(depth=2, branching=2).build(ENVIRONMENT, BUDGET)
    expected = []
    for nodes in (tree(ENVIRONMENT, root, 2, 2) for root in islice(ENVIRONMENT.tasks("train"), 6)):
        for depth in (2, 1, 0):
            expected += [node.task for node in nodes if node.depth == depth]
    assert live.draw(7) + live.draw(5) == tuple(expected[:12])


@pytest.mark.parametrize("drawn", [0, 1, 4, 9, 23])
def test_a_resume_goes_on_at_the_next_rung(drawn):
    live = Ladder().build(ENVIRONMENT, BUDGET)
    live.draw(drawn)
    state = live.state_dict()
    later = Ladder().build(ENVIRONMENT, BUDGET)
    later.load_state_dict(state)
    assert later.state_dict() == state
    assert later.draw(11) == live.draw(11)


def test_an_environment_without_variants_is_refused():
    with pytest.raises(EnvironmentProblem, match="curriculum=stream"):
        Ladder().build(DigitSum().build(0), BUDGET)
    with pytest.raises(ValueError, match="depth"):
        Ladder(depth=0)
