"""Guess and recall: what is known exactly about them, and that a prompt gives nothing away."""

from collections import Counter

import numpy as np
import pytest

from critica.environments.base import EnvironmentProblem
from critica.environments.catalogue import parse_environment
from critica.environments.guess import Guess
from critica.environments.recall import Recall


def test_any_guess_is_worth_one_in_as_many_as_there_are():
    environment = Guess(5).build(1)
    game = environment.game(environment.candidate(3))
    law = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    assert game.true_value(lambda prefix: law) == law[game.right]
    tasks = [environment.candidate(i) for i in range(2000)]
    counts = Counter(task.answer for task in tasks)
    assert sorted(counts) == list("12345") and max(abs(n - 400) for n in counts.values()) < 4 * (2000 * 0.16) ** 0.5
    assert all("guess 1 to 5: " in task.prompt for task in tasks)


def test_a_guess_is_one_legal_digit():
    environment = Guess(4).build(0)
    task = environment.candidate(0)
    wrong = next(digit for digit in "1234" if digit != task.answer)
    assert environment.score(task, f" {task.answer}") == 1.0 and environment.score(task, wrong) == 0.0
    assert environment.score(task, task.answer * 2) == 0.0
    said = [environment.answer_in(task, text) for text in (" 3", "5", "33", "", "x")]
    assert said == ["3", "", "", "", ""]
    other = environment.wrong_answer(task, np.random.default_rng(0))
    assert other != task.answer
    with pytest.raises(EnvironmentProblem, match="2 to 9"):
        Guess(10)


def test_recall_asks_for_a_fact_that_is_in_one_piece():
    environment = Recall(chunks=3, facts=2, digits=4).build(2)
    where = Counter()
    for index in range(300):
        task = environment.candidate(index)
        facts = [fact for piece in task.info["pieces"] for fact in piece.split()]
        assert len(task.info["pieces"]) == 3 and len({fact[0] for fact in facts}) == 6
        held = [
            k for k, piece in enumerate(task.info["pieces"]) if f"{task.info['question'][0]}={task.answer}" in piece
        ]
        assert len(held) == 1 and task.prompt == f"{' '.join(task.info['pieces'])} {task.info['question']} "
        where[held[0]] += 1
        assert environment.score(task, f"{task.answer} ") == 1.0 and environment.score(task, "x") == 0.0
    assert min(where.values()) > 60  # the answer is as likely in any piece
    with pytest.raises(EnvironmentProblem, match="1 to 26 facts"):
        Recall(chunks=9, facts=3)


def test_both_are_named_on_the_command_line():
    assert parse_environment("guess") == Guess() and parse_environment("recall") == Recall()
