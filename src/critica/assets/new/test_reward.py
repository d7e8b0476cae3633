"""What must hold of the reward in my_reward.py: pytest test_my_reward.py"""

from pathlib import Path

import critica
import pytest
from my_reward import my_reward

FILE = Path(__file__).with_name("my_reward.py")


@pytest.mark.parametrize(
    ("text", "reward"), [("3+4=7", 1.0), ("it is 8", 0.1), ("no idea", 0.0), ("7, no, 9", 0.1), ("", 0.0)]
)
def test_what_each_answer_earns(text, reward):
    assert my_reward([text], answer=["7"]) == [reward]


def test_no_answer_to_compare_with_is_no_judgment():
    assert my_reward(["7"], answer=[""]) == [None]


def test_training_is_told_what_it_says(tmp_path):
    settings = [f"reward={FILE}:my_reward", "sampling.prompts_per_step=2", "sampling.samples_per_prompt=2"]
    recipe = critica.recipe("grpo", *settings, environment="arithmetic", steps=1, seed=1)
    run = critica.RunFolder.open(critica.train(recipe, tmp_path / "run").run)
    (step,) = run.metrics()
    assert 0 <= step["reward/told"] <= 1
