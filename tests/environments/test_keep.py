"""Which rows a condition keeps, that what it leaves out is counted and said, and what is no condition."""

import json

import pytest

from critica.environments.files import TaskFile
from critica.environments.keep import parse_condition
from critica.environments.rows import Place, TaskFileProblem
from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.config import from_tables, to_tables
from critica.recipes.resolve import change_recipe

HERE = Place("t.jsonl", "row", 1)
ROWS = [
    {"prompt": "x" * (i + 1), "answer": "a", "level": ["easy", "hard", None][i % 3], "difficulty": i, "ok": i % 2 == 0}
    for i in range(12)
]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(file)


def kept(path, *keep, fit=False):
    environment = TaskFile(path, shuffle=False, keep=keep).build(0)
    if fit:
        environment.fit(lambda messages: [0] * len(messages[0].content))
    return environment


def numbers(environment):
    return [environment.candidate(i).info["difficulty"] for i in range(environment.tally.rows)]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("difficulty <= 3", [0, 1, 2, 3]),
        ("difficulty<3", [0, 1, 2]),
        ("difficulty >= 9.5", [10, 11]),
        ("difficulty > 9", [10, 11]),
        ("level == easy", [0, 3, 6, 9]),
        ("level == easy | null", [0, 2, 3, 5, 6, 8, 9, 11]),
        ("level != easy|null", [1, 4, 7, 10]),
        ("ok == true", [0, 2, 4, 6, 8, 10]),
        ("difficulty == 3.0 | 4", [3, 4]),
        ("prompt == xx", [1]),
    ],
)
def test_what_a_condition_keeps(path, text, left):
    environment = kept(path, text)
    assert numbers(environment) == left
    assert environment.tally.dropped == {text: 12 - len(left)}
    (said,) = [line for line in environment.warnings if "left out" in line]
    assert f"{12 - len(left)} tasks do not meet '{text}'" in said


def test_all_conditions_must_hold_and_each_row_is_counted_at_the_first_that_does_not(path):
    environment = kept(path, "difficulty<=5", "level==easy")
    assert numbers(environment) == [0, 3] and environment.tally.dropped == {"difficulty<=5": 6, "level==easy": 4}
    assert [environment.candidate(i).task_id.rpartition("/")[2] for i in range(2)] == ["1", "4"]


def test_prompts_are_measured_in_the_tokens_of_whoever_reads_them(path):
    unfit = kept(path, "prompt_tokens<=7", "prompt_tokens>2")
    for ask in (lambda: unfit.held_out(1), lambda: next(unfit.tasks("train")), lambda: unfit.size("train")):
        with pytest.raises(TaskFileProblem, match=r"call fit\(policy.encode\)"):
            ask()
    environment = kept(path, "prompt_tokens<=7", "prompt_tokens>2", fit=True)
    environment.fit(lambda messages: [])  # said again, it changes nothing
    whole = kept(path, fit=True)
    for split in ("train", "held_out"):
        size = environment.size(split)
        want = [t.info["difficulty"] for t in whole.held_out(whole.size(split), split) if 2 < len(t.prompt) <= 7]
        assert [t.info["difficulty"] for t in environment.held_out(size, split)] == want
    assert "5 tasks do not meet 'prompt_tokens<=7'" in environment.warnings[0]
    assert "2 tasks do not meet 'prompt_tokens>2'" in environment.warnings[1]
    with pytest.raises(TaskFileProblem, match=r"leaves no prompt to train on.*12 rows are left out"):
        kept(path, "prompt_tokens<1", fit=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("difficulty", "is no condition: write COLUMN"),
        ("difficulty ~ 3", "is no condition"),
        ("<= 3", "is no condition"),
        ("difficulty <=", "is no condition"),
        ("difficulty <= high", "compares with 'high'"),
        ("difficulty <= nan", "compares with 'nan'"),
        ("prompt_tokens == 3", "bound a length"),
    ],
)
def test_what_is_no_condition(text, words):
    with pytest.raises(TaskFileProblem, match=words):
        TaskFile("t.jsonl", keep=(text,))


def test_a_text_has_no_size_and_a_column_must_be_there(path):
    with pytest.raises(TaskFileProblem, match=r"t\.jsonl, line 1: column 'level' is text.*compare with =="):
        kept(path, "level <= 3")
    with pytest.raises(TaskFileProblem, match=r"'dificulty<=3', and no row has a column 'dificulty'; .*'difficulty'"):
        kept(path, "dificulty<=3")
    with pytest.raises(TaskFileProblem, match=r"leaves no row \('difficulty>99' leaves out 12\)"):
        kept(path, "difficulty>99")


def test_null_is_neither_larger_nor_smaller_and_a_missing_column_is_null():
    assert not parse_condition("x <= 3").admits({"x": None}, HERE)
    assert not parse_condition("x >= 3").admits({}, HERE)
    assert parse_condition("x == null").admits({}, HERE) and not parse_condition("x != null").admits({}, HERE)
    assert parse_condition("x.y == 1").admits({"x": {"y": 1}}, HERE)
    assert not parse_condition("x == 1").admits({"x": True}, HERE), "true is not 1"
    assert parse_condition("x == 1").admits({"x": "1"}, HERE)


def test_conditions_and_splits_are_said_on_the_command_line_and_saved_with_the_run(path):
    settings = [
        f"environment={path}",
        "environment.keep=difficulty<=3,level==easy|hard",
        "environment.splits.held_out=0.5",
    ]
    recipe = change_recipe(RECIPES["grpo"], settings, PARTS)
    assert recipe.environment.keep == ("difficulty<=3", "level==easy|hard")
    assert recipe.environment.splits.held_out == 0.5
    assert from_tables(to_tables(recipe, PARTS), Recipe, PARTS).environment == recipe.environment
    named = change_recipe(recipe, ["environment.splits.held_out=test"], PARTS)
    assert named.environment.splits.held_out == "test"
    assert from_tables(to_tables(named, PARTS), Recipe, PARTS).environment == named.environment
