"""Every recipe of the catalogue raises the exact return of a tiny policy; a third of them each run.

Which third: the day of the year modulo 3, or `CRITICA_MATRIX_THIRD` (0, 1, 2, or `all`). Seeds are fixed, so that a
third gives the same numbers whenever it is run. `critica bench recipes` runs all of them over several seeds.
"""

import datetime
import os

import pytest

from critica.benches.base import Order
from critica.benches.recipes import (
    CONTROL,
    GAME,
    MARGIN,
    MEASURES,
    OTHER_TASKS,
    REMEMBERED,
    Rise,
    Trial,
    control_recipe,
    rise_of,
    verdict,
    write,
)
from critica.benches.small_policy import make_small_policy
from critica.recipes.catalogue import RECIPES

VARIABLE = "CRITICA_MATRIX_THIRD"


def chosen(names, day, asked=""):
    """The names of this run's third, or all."""
    if asked == "all":
        return list(names)
    third = int(asked) if asked else day % 3
    assert third in (0, 1, 2), f"{VARIABLE} is 0, 1, 2 or all, not {asked}"
    return list(names)[third::3]


# Recipes that do not rise on this game within its few steps, and where they are shown to do what they should.
# `critica bench recipes` runs them all the same, and says FAIL.
UNSHOWN = {
    "align_distil": "tests/training/test_step_recipes.py",  # collapses at these rates; the cause is not known
}
UNSHOWN |= dict.fromkeys(OTHER_TASKS, "tests/training/test_supervision_recipes.py")
UNSHOWN["cme"] = "tests/training/test_text_model_recipes.py"
UNSHOWN |= dict.fromkeys(  # a judge that keeps erring on nine answers; likeness to the prompt, which is not the return
    ("evo_rubric", "sg_srl"), "tests/training/test_judged_recipes.py"
)
UNSHOWN["es_awd"] = "tests/training/test_evolution.py"  # 30 updates of 8 members say little about so many weights
UNSHOWN["power_sampling"] = "tests/training/test_power_run.py"  # trains nothing
UNSHOWN |= {  # they need tasks of their own, or are measured by single answers while they learn exchanges
    "multi_attempt": "tests/rollout/test_attempts.py",
    "rltf_sd": "tests/rollout/test_feedback.py",
    "rltf_fm": "tests/rollout/test_feedback.py",
    "retro_act": "tests/rollout/test_retrospect.py",
    "mmpo": "tests/rollout/test_memory.py",
    "ladder": "tests/curricula/test_ladder.py",
}
UNSHOWN["gapd"] = "tests/objectives/test_view_distillation.py"  # its tasks must carry their right answers
TODAY = chosen(RECIPES, datetime.date.today().timetuple().tm_yday, os.environ.get(VARIABLE, ""))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_small_policy(tmp_path_factory.mktemp("policy"), GAME.build(0), remembered=REMEMBERED)


def test_three_days_in_a_row_see_every_recipe_and_the_variable_overrides_the_day():
    seen = [name for day in (100, 101, 102) for name in chosen(RECIPES, day)]
    assert sorted(seen) == sorted(RECIPES)
    assert chosen("abcde", 100, "0") == ["a", "d"] and chosen("abcde", 100, "all") == list("abcde")


@pytest.mark.parametrize("name", TODAY)
def test_the_recipe_raises_return(name, folder):
    if name in UNSHOWN:
        pytest.skip(f"does not rise on this game within so few steps; see {UNSHOWN[name]}")
    rise = rise_of(RECIPES[name], folder, seed=1, trial=Trial())
    assert rise.gain > MARGIN, f"{name}: from {rise.before:.3f} to {rise.after:.3f}"


def test_coin_flips_teach_nothing(folder):
    rise = rise_of(control_recipe(), folder, seed=1, trial=Trial())
    assert rise.gain < MARGIN  # it may well fall: coin flips wear a policy down


def test_what_is_measured_otherwise_is_in_the_catalogue():
    assert set(MEASURES) <= set(RECIPES)


def test_whoever_is_excused_has_a_test_elsewhere(root):
    assert set(UNSHOWN) <= set(RECIPES)
    for place in UNSHOWN.values():
        assert (root / place).is_file(), place


def test_a_gain_within_chance_does_not_pass(tmp_path):
    steady = [Rise("a", seed, 0.2, 0.4 + 0.01 * seed) for seed in range(3)]
    lucky = [Rise("b", seed, 0.2, after) for seed, after in enumerate((0.2, 0.9, 0.2))]
    still = [Rise(CONTROL, seed, 0.2, 0.2) for seed in range(3)]
    assert [verdict(rises) for rises in (steady, lucky, still)] == ["pass", "FAIL", "control"]
    page = write(Order(out=tmp_path), Trial(), [*steady, *lucky, *still]).read_text()
    assert "| a | policy | 0.200 | 0.410 | +0.210" in page and "| FAIL |" in page
