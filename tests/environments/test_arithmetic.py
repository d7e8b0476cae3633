"""Worked arithmetic: expressions against Python's own evaluation, steps against hand-judged ones."""

import pytest

from critica.environments.arithmetic import FORMATS, demonstrate, evaluate, final_number, judge_steps, parse
from critica.environments.catalogue import parse_environment


@pytest.mark.parametrize("step_format", FORMATS)
@pytest.mark.parametrize("difficulty", [1, 2, 3, 4, 5])
def test_flawless_answers_are_flawless(difficulty: int, step_format: str) -> None:
    environment = parse_environment(f"arithmetic:{difficulty}/{step_format}").build(11)
    for index in range(40):
        task = environment.candidate(index)
        assert int(task.answer) == eval(task.info["expression"])
        text = environment.demonstration(task)
        steps = environment.steps(task, text)
        assert environment.score(task, text) == 1.0
        assert len(steps) == sum(task.info["expression"].count(sign) for sign in "+-*")
        assert all(step.correct and step.on_track for step in steps)
        assert environment.score(task, str(int(task.answer) + 1)) == 0.0


@pytest.mark.parametrize(
    ("step_format", "text"),
    [("running", "3*2=6;7+5=12;12-6=6"), ("rewrite", "=7+5-6=12-6=6"), ("results", "6,12,6")],
)
def test_the_docstrings_example(step_format: str, text: str) -> None:
    assert demonstrate(parse("7+5-3*2"), step_format) == text and final_number(text) == 6


def judged(expression: str, text: str, step_format: str) -> list[tuple[bool, bool]]:
    return [(step.correct, step.on_track) for step in judge_steps(parse(expression), text, step_format)]


def test_a_wrong_step_is_wrong_and_later_ones_are_judged_from_it() -> None:
    assert judged("7+5-3", "7+5=13;13-3=10", "running") == [(False, False), (True, False)]
    assert judged("7+5-3", "13,10", "results") == [(False, False), (True, False)]
    assert judged("7+5-3", "=13-3=10", "rewrite") == [(False, False), (True, False)]


def test_two_mistakes_that_cancel_are_mistakes_that_end_on_track() -> None:
    assert judged("7+5-3", "13,9", "results") == [(False, False), (False, True)]


def test_right_result_from_wrong_operands_is_not_correct() -> None:
    assert judged("7+5-3", "6+6=12;12-3=9", "running") == [(False, True), (True, True)]


def test_unreadable_and_surplus_steps_are_wrong() -> None:
    assert judged("7+5-3", "12,x,9", "results") == [(True, True), (False, False), (True, True)]
    assert judged("7+5", "12,12", "results") == [(True, True), (False, False)]
    assert judged("7+5", "", "results") == []


def test_steps_say_where_they_stand() -> None:
    text = "7+5=12;12-3=9"
    assert [text[step.start : step.end] for step in judge_steps(parse("7+5-3"), text, "running")] == text.split(";")


def test_negative_results_carry_on() -> None:
    assert demonstrate(parse("3-9+2"), "running") == "3-9=-6;-6+2=-4"
    assert judged("3-9+2", "3-9=-6;-6+2=-4", "running") == [(True, True), (True, True)]
    assert judged("3-9+2", "=-6+2=-4", "rewrite") == [(True, True), (True, True)]


@pytest.mark.parametrize("text", ["", "=", "1=x", "--3", "3 4", "٣"])
def test_no_final_number(text: str) -> None:
    assert final_number(text) is None


def test_products_go_first() -> None:
    assert evaluate(parse("2+3*4-5*2")) == 4
