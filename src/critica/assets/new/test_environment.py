"""What must hold of the environment in my_environment.py: pytest test_my_environment.py"""

from itertools import islice
from pathlib import Path

import critica
import pytest
from my_environment import MyEnvironment

FILE = Path(__file__).with_name("my_environment.py")


def test_the_answer_earns_all_and_others_less():
    environment = MyEnvironment().build(seed=1)
    for task in islice(environment.tasks("train"), 20):
        assert environment.score(task, task.answer) == 1.0
        assert environment.score(task, task.answer + "0") == 0.0


def test_a_task_depends_on_seed_and_place_alone():
    one, same, other = (MyEnvironment().build(seed).candidate(5) for seed in (1, 1, 2))
    assert one == same and one != other


def test_half_right_earns_half():
    environment = MyEnvironment(longest=2).build(seed=1)
    task = next(task for task in environment.tasks("train") if len(task.answer) == 2)
    wrong = str((int(task.answer[1]) + 1) % 10)
    assert environment.score(task, task.answer[0] + wrong) == 0.5


def test_it_can_be_trained_on(tmp_path):
    settings = ["sampling.prompts_per_step=2", "sampling.samples_per_prompt=2"]
    recipe = critica.recipe("grpo", *settings, environment=f"{FILE}:MyEnvironment", steps=1, seed=1)
    result = critica.train(recipe, tmp_path / "run")
    assert result.finished


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="longest"):
        MyEnvironment(longest=0)
