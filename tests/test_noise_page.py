"""docs/noise.md shows specs that parse, each under the name it has, and a recipe file that resolves."""

import re
from pathlib import Path

import pytest

from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import find_recipe
from critica.rewards.correction_specs import parse_correction
from critica.rewards.noise_specs import parse_noise

PAGE = (Path(__file__).parent.parent / "docs" / "noise.md").read_text()


def specs(heading: str, column: int) -> list[str]:
    """What stands in backquotes in one column of the table after a heading in bold."""
    table = PAGE.split(heading)[1].split("\n\n")[1]
    cells = [row.split("|")[column] for row in table.splitlines()[2:]]
    return [spec for cell in cells for spec in re.findall(r"`([^`]+)`", cell)]


def test_every_noise_spec_reads_as_itself():
    shown = specs("**Noise**", 1)
    assert len(shown) > 12
    for spec in shown:
        assert parse_noise(spec).name == spec


def test_every_correction_is_one():
    shown = specs("**Correction**", 2)
    direct = [spec for spec in shown if not spec.startswith("--set")]
    assert len(direct) >= 7
    for spec in direct:
        parse_correction(spec)


def test_the_recipe_file_resolves(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    recipe = find_recipe(str(path), RECIPES, PARTS)
    assert recipe.reward.names == ("right", "close") and recipe.reward.sources[1].needs == ("answer",)
    assert type(recipe.placement.combination).__name__ == "NormalizeThenSum"


@pytest.mark.parametrize("recipe", ["answer_posterior"])
def test_the_recipes_it_names_exist(recipe):
    assert f"`{recipe}`" in PAGE and recipe in RECIPES
