"""A TOML file that starts from another one: what is nearest wins, and a base is looked for beside the file."""

import pytest

from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import find_recipe


@pytest.fixture
def files(tmp_path, monkeypatch):
    """shared/common.toml < shared/sizes.toml < mine.toml, read from another folder."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shared" / "common.toml").write_text('base = "ppo"\nsteps = 7\nseed = 3\n[critic]\nclip = 0.3\n')
    (tmp_path / "shared" / "sizes.toml").write_text(
        'base = "common.toml"\nsteps = 8\n[sampling]\nprompts_per_step = 2\n'
    )
    (tmp_path / "mine.toml").write_text('base = "shared/sizes.toml"\nsteps = 9\n')
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def test_each_file_says_only_what_differs(files):
    mine = find_recipe(str(files / "mine.toml"), RECIPES, PARTS)
    assert (mine.steps, mine.seed, mine.critic.clip, mine.sampling.prompts_per_step) == (9, 3, 0.3, 2)
    assert mine.objective == RECIPES["ppo"].objective


def test_a_base_in_the_working_folder_is_found_too_and_the_nearer_one_wins(files):
    (files / "elsewhere" / "common.toml").write_text('base = "ppo"\nseed = 99\n')
    assert find_recipe(str(files / "shared" / "sizes.toml"), RECIPES, PARTS).seed == 3
    (files / "alone.toml").write_text('base = "common.toml"\n')
    assert find_recipe(str(files / "alone.toml"), RECIPES, PARTS).seed == 99


def test_a_recipe_in_a_python_file_beside_it_is_a_base(files):
    (files / "own.py").write_text(
        "from dataclasses import replace\n\nfrom critica.recipes.catalogue import RECIPES\n\n"
        "MINE = replace(RECIPES['ppo'], steps=11)\n"
    )
    (files / "mine.toml").write_text('base = "own.py:MINE"\nseed = 5\n')
    mine = find_recipe(str(files / "mine.toml"), RECIPES, PARTS)
    assert (mine.steps, mine.seed) == (11, 5)


def test_circles_and_missing_bases_are_named(files):
    (files / "shared" / "common.toml").write_text('base = "../mine.toml"\n')
    with pytest.raises(ConfigError, match="its own base"):
        find_recipe(str(files / "mine.toml"), RECIPES, PARTS)
    (files / "mine.toml").write_text('base = "shared/size.toml"\n')
    with pytest.raises(ConfigError, match=r"mine\.toml: there is no file .*size\.toml"):
        find_recipe(str(files / "mine.toml"), RECIPES, PARTS)
