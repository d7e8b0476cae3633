"""Values that are one an answer carry no credit in their differences: GAE refuses them, also inside a combination."""

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


def test_a_blend_is_flat_if_both_of_its_critics_are():
    flat = ["critic=blend", "critic.first=group_mean", "critic.second=beta_posterior", "advantage=gae"]
    with pytest.raises(Exception, match="one an answer"):
        change_recipe(RECIPES["grpo"], flat, PARTS)
    change_recipe(RECIPES["grpo"], ["critic=blend", "critic.first=group_mean", "advantage=gae"], PARTS)
