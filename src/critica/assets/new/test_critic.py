"""What must hold of the critic in my_critic.py: pytest test_my_critic.py"""

from pathlib import Path

import critica
import pytest
from my_critic import MyCritic

FILE = Path(__file__).with_name("my_critic.py")


def test_it_begins_at_nothing_and_learns_to_expect_what_happens(tmp_path):
    settings = [f"critic={FILE}:MyCritic", "sampling.prompts_per_step=8", "sampling.samples_per_prompt=4"]
    recipe = critica.recipe("ppo", *settings, steps=12, seed=1)
    run = critica.train(recipe, tmp_path / "run").run
    steps = list(critica.RunFolder.open(run).metrics())
    told = sum(step["reward/told"] for step in steps) / len(steps)
    assert steps[0]["critic/value_mean"] == 0.0
    assert told / 4 < steps[-1]["critic/value_mean"] < 2 * told


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="width"):
        MyCritic(width=0.0)
