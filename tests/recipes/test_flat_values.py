import pytest

from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import change_recipe


@pytest.mark.parametrize("critic", ["group_mean", "beta_posterior", "prompt_value", "fused_value"])
def test_flat(critic):
    with pytest.raises(Exception, match="one an answer"):
        change_recipe(RECIPES["grpo"], [f"critic={critic}", "advantage=gae"], PARTS)
@pytest.mark.parametrize("critic", ["number_sets", "prefix_tree", "hidden_neighbors"])
def test_fine(critic):
    change_recipe(RECIPES["grpo"], [f"critic={critic}", "advantage=gae"], PARTS)
