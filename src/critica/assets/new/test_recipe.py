"""What must hold of the recipe in my_recipe.py: pytest test_my_recipe.py"""

from pathlib import Path

import critica
from my_recipe import MY_RECIPE

FILE = Path(__file__).with_name("my_recipe.py")


def test_it_trains_and_is_saved_by_name(tmp_path):
    settings = ["sampling.prompts_per_step=2", "sampling.samples_per_prompt=2"]
    recipe = critica.recipe(f"{FILE}:MY_RECIPE", *settings, environment="digit_sum", steps=2)
    assert recipe.name == MY_RECIPE.name
    run = critica.train(recipe, tmp_path / "run")
    assert run.finished
    assert critica.recipe(str(tmp_path / "run" / "config.toml")).objective == MY_RECIPE.objective
