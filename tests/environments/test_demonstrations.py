"""Worked answers: each is right by the dataset's own scorer, and as careful as its writer was told to be."""

from itertools import islice
from random import Random

import pytest
import reasoning_gym

from critica.environments.demonstrations import (
    Demonstration,
    Writers,
    demonstrate,
    demonstrations,
    final_answer,
    items,
    shown_steps,
)
from critica.environments.mixes import PICO_TASKS, MixEntry
from critica.environments.splits import split_of

CAREFUL = Writers(hurried_share=0.0, careful_goes_on=1.0)
HURRIED = Writers(hurried_share=1.0, hurried_goes_on=0.0)


@pytest.mark.parametrize("entry", PICO_TASKS, ids=lambda entry: entry.name)
def test_every_demonstration_scores_one(entry: MixEntry) -> None:
    scorer = reasoning_gym.create_dataset(entry.name, seed=0, size=1)
    mixed = Writers(hurried_share=0.5, careful_goes_on=0.8, hurried_goes_on=0.5)
    for index, item in islice(items(entry, seed=11), 300):
        for writers in (CAREFUL, HURRIED, mixed):
            shown = demonstrate(entry.name, item, writers, Random(index))
            assert scorer.score_answer(final_answer(shown.completion), item) == 1.0, (item, shown)
            assert shown_steps(entry.name, item, shown.completion) == (shown.shown, shown.steps)


@pytest.mark.parametrize("entry", PICO_TASKS, ids=lambda entry: entry.name)
def test_demonstrations_are_a_function_of_seed_and_index(entry: MixEntry) -> None:
    writers = Writers(hurried_share=0.5)
    first = list(islice(demonstrations(entry, 3, writers, "warm_start"), 40))
    assert first == list(islice(demonstrations(entry, 3, writers, "warm_start"), 40))
    assert first != list(islice(demonstrations(entry, 4, writers, "warm_start"), 40))
    assert {split_of(d.prompt) for d in first} == {"warm_start"}


def _item(name: str, question: str, answer: str = "", **metadata: object) -> dict[str, object]:
    return {"question": question, "answer": answer, "metadata": metadata}


@pytest.mark.parametrize(
    ("name", "metadata", "careful", "hurried"),
    [
        ("chain_sum", {"expression": "4 - 1 - 7 + 3"}, "4-1=3-7=-4+3=-1", "=-1"),
        ("simple_equations", {"equation": "5*x - 7 = 38"}, "38+7=45/5=9", "=9"),
        ("simple_equations", {"equation": "9 - 15*e = -186"}, "-186-9=-195/-15=13", "=13"),
        ("simple_equations", {"equation": "z + 5 = 15"}, "15-5=10", "=10"),
        ("simple_equations", {"equation": "6 - k = 2"}, "2-6=-4/-1=4", "=4"),
        ("simple_equations", {"equation": "3*x = 12"}, "12/3=4", "=4"),
        ("leg_counting", {"animals": {"tiger": 3, "crab": 1, "duck": 2}}, "12+10=22+4=26", "=26"),
        ("leg_counting", {"animals": {"leech": 8, "woodlouse": 2}}, "0+28=28", "=28"),
    ],
)
def test_written_out(name: str, metadata: dict[str, object], careful: str, hurried: str) -> None:
    item = _item(name, "?", hurried.removeprefix("="), **metadata)
    assert demonstrate(name, item, CAREFUL, Random(0)).completion == careful
    assert demonstrate(name, item, HURRIED, Random(0)).completion == hurried


def test_final_answer_is_what_follows_the_last_equals_sign() -> None:
    assert final_answer("4-1=3-7=-4") == "-4"
    assert final_answer("  42 \n") == "42"
    assert final_answer("4-1=3-7=") == ""


def test_how_often_writers_jump() -> None:
    writers, rng, draws = (
        Writers(hurried_share=0.7, careful_goes_on=0.9, hurried_goes_on=0.2),
        Random(5),
        8000,
    )
    shown = [writers.shown(3, rng) for _ in range(draws)]
    for count, expected in (
        (0, 0.7 * 0.8 + 0.3 * 0.1),
        (1, 0.7 * 0.2 * 0.8 + 0.3 * 0.9 * 0.1),
        (3, 0.7 * 0.2**3 + 0.3 * 0.9**3),
    ):
        assert abs(shown.count(count) / draws - expected) < 0.02


def test_jumps_in_the_middle_are_counted_as_shown() -> None:
    item = _item("chain_sum", "?", expression="4 - 8 - 7 + 3")
    assert shown_steps("chain_sum", item, "4-8=-4-7=-11=-8") == (2, 3)
    assert shown_steps("chain_sum", item, "=-8") == (0, 3)
    assert shown_steps("chain_sum", item, "4-8=-4-7=-11+3=-8") == (3, 3)


def test_a_share_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hurried_share is 1\.5, but it is a probability"):
        Writers(hurried_share=1.5)


def test_an_unknown_dataset_is_refused() -> None:
    with pytest.raises(ValueError, match="no demonstrations are known for the reasoning-gym dataset 'sudoku'"):
        demonstrate("sudoku", _item("sudoku", "?"), CAREFUL, Random(0))


def test_demonstration_counts_its_steps() -> None:
    item = _item("chain_sum", "4 - 1 - 7 =", expression="4 - 1 - 7")
    assert demonstrate("chain_sum", item, CAREFUL, Random(0)) == Demonstration("4 - 1 - 7 =", "4-1=3-7=-4", 2, 2)
