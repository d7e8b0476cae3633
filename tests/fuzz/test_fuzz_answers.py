"""Model output through every extractor and scorer, 10,000 inputs each: right is right, wrong is wrong, none hangs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from critica.environments.answers import extract_answer
from critica.environments.gym_entries import misread
from critica.environments.numbers import last_number, parse_number

TARGETS = (
    "numeric",
    "exact",
    "regex",
    "tags",
    "long_texts",
    "pico",
    "arithmetic",
    "digit_sum",
    "binary_tree",
    "chain",
    "two_branch",
)


def test_answers_survive_whatever_is_written(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.answer_targets", *TARGETS],
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-8000:]
    counts = {name: int(count) for name, count in (line.split() for line in done.stdout.splitlines())}
    assert tuple(counts) == TARGETS and all(count >= 10_000 for name, count in counts.items() if name != "long_texts")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,2", None),
        ("3,4,5", None),
        ("−5", -5),
        ("10-3", None),
        ("1 000", None),
        ("1.2.3", None),
        ("4 or 5", None),
        ("5²", None),
        ("½", None),
        ("x12", None),
        (r"\frac{1}{2}", None),
        ("12 million", None),
        ("is not 5", None),
        ("1 3/4", None),
        ("<answer>5</answer>", 5),
        (r"\boxed{-5}", -5),
        ("**5**", 5),
        ("$1,234.50$", 1234.5),
        ("3-8=-5", -5),
        ("１２", 12),
        ("", None),
        ("9" * 6000, None),
        ("1e999999999", None),
        ("1/0", None),
        ("4\n5", 5),
        ("答案是5个", 5),
    ],
)
def test_numbers_are_read_as_people_read_them(text: str, number: float | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    "text", ["1,2", "12,34", ",1", "1,", "1e401", "1" * 401, "1/0", "a", "", "1_0", "--1", "nan", "inf"]
)
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


def test_the_last_tag_that_is_closed_counts() -> None:
    assert extract_answer("<answer>4</answer> <answer>5", "tags", "4") == "4"
    assert extract_answer("<answer>3<answer> 4 </ANSWER></answer>", "tags", "4") == "4"
    assert extract_answer("</answer>4<answer>", "tags", "4") == ""


def test_misplaced_separators_do_not_make_a_number_of_a_list() -> None:
    assert misread("1,2", "12") and misread("1_2", "12") and misread("-1,2", "-12")
    assert (
        not misread("1,200", "1200")
        and not misread("12", "12")
        and not misread("1, 2", "1, 2")
        and not misread("x", "12")
    )
