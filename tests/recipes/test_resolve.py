"""A recipe by name or by file, changed by settings, is one recipe whose origins are told truly."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from critica.environments.digit_sum import DigitSum
from critica.recipes.base import OurChoice
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.config import from_tables, to_tables
from critica.recipes.notes import provenance_notes
from critica.recipes.resolve import SPECS, change_recipe, find_recipe
from critica.recipes.toml import write_toml
from critica.rewards.noise import Flip, NoNoise
from critica.rewards.verifiers import Function

UNSAVED = {"provenance"}


def same(a, b) -> bool:
    """Equal in everything that a config file keeps."""
    names = [item.name for item in fields(a) if item.name not in UNSAVED]
    return all(getattr(a, name) == getattr(b, name) for name in names)


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_survives_its_own_file(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    file = tmp_path / "config.toml"
    file.write_text(write_toml(to_tables(recipe, PARTS), provenance_notes(recipe)))
    assert same(find_recipe(str(file), RECIPES, PARTS), recipe)
    assert same(find_recipe(str(tmp_path), RECIPES, PARTS), recipe)


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_stated_origin_names_a_value_that_exists(name: str) -> None:
    recipe = RECIPES[name]
    for path in recipe.provenance:
        place = recipe
        for part in path.split("."):
            place = getattr(place, part)


def test_a_file_may_say_only_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'base = "dvpo"\nsteps = 7\nnoise = "flip:0.2:group"\nenvironment = "digit_sum"\n[critic]\nquantiles = 8\n'
    )
    mine = find_recipe(str(file), RECIPES, PARTS)
    assert (mine.steps, mine.critic.quantiles, mine.critic.heads) == (7, 8, RECIPES["dvpo"].critic.heads)
    assert mine.noise == Flip(0.2, 0.2, "group") and mine.environment == DigitSum()
    file.write_text('base = "dvpp"\n')
    with pytest.raises(ConfigError, match=r"mine\.toml: there is no recipe 'dvpp'; the nearest is 'dvpo'"):
        find_recipe(str(file), RECIPES, PARTS)


def test_settings_change_values_and_take_over_their_origin() -> None:
    recipe = RECIPES["dvpo"]
    assert "critic.quantiles" in recipe.provenance and "critic.heads" in recipe.provenance
    changed = change_recipe(recipe, ["critic.quantiles=8", "noise=flip:0.1/0.3:prompt", "environment=digit_sum"], PARTS)
    assert changed.critic.quantiles == 8 and changed.noise == Flip(0.1, 0.3, "prompt")
    assert changed.provenance["critic.quantiles"] == OurChoice(because="set by the user")
    assert changed.provenance["critic.heads"] == recipe.provenance["critic.heads"]
    assert recipe.noise == NoNoise() and recipe.critic.quantiles != 8
    assert change_recipe(recipe, [], PARTS) is recipe


def test_a_swapped_part_leaves_no_origin_of_the_old_one() -> None:
    changed = change_recipe(RECIPES["dvpo"], ["critic=scalar", "advantage=gae", "target=lambda_return"], PARTS)
    assert not any(path.startswith("critic.") for path in changed.provenance)
    assert changed.provenance["critic"] == OurChoice(because="set by the user")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("critic=group_mean", "critic=quantile"),
        ("environment=pica", "nearest is 'pico'"),
        ("noise=flip:2:group", "between 0 and 1"),
        ("noise=flop:0.2:group", "flip:0.2:group"),
        ("reward=nummeric", "nearest is 'numeric'"),
        ("sampling.samples_per_prompt=0", "sampling: .*at least 1"),
        ("learner.policy.learning_rate=fast", "learner.policy.learning_rate: expected float, got 'fast'"),
        ("checkpoint.evry=3", "nearest is 'every'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        change_recipe(RECIPES["dvpo"], [setting], PARTS)


def test_specs_survive_toml() -> None:
    changed = change_recipe(RECIPES["grpo"], ["environment=rg:chain_sum*2+lcm", "reward=numeric:0.01"], PARTS)
    tables = tomllib.loads(write_toml(to_tables(changed, PARTS), {}))
    assert same(from_tables(tables, type(changed), PARTS, specs=SPECS), changed)


MINE = """
from dataclasses import dataclass
from critica.critics.base import CriticPart
from critica.environments.base import EnvironmentConfig

@dataclass(frozen=True)
class MyCritic(CriticPart):
    scale: float = 1.0
    def build(self, context): ...

@dataclass(frozen=True)
class MyTasks(EnvironmentConfig):
    digits: int = 2
    def build(self, seed): ...

def reward(prompts, completions): return [0.0 for _ in completions]
"""


def test_own_parts_are_named_in_the_saved_config(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    settings = [f"critic={file}:MyCritic", "critic.scale=2", f"environment={file}:MyTasks", f"reward={file}:reward"]
    changed = change_recipe(RECIPES["ppo"], settings, PARTS)
    tables = tomllib.loads(write_toml(to_tables(changed, PARTS), {}))
    assert tables["critic"] == {"use": f"{file}:MyCritic", "scale": 2.0}
    assert tables["environment"] == {"use": f"{file}:MyTasks", "digits": 2}
    assert same(from_tables(tables, type(changed), PARTS), changed)
    with pytest.raises(ConfigError, match="must be a subclass of"):
        change_recipe(RECIPES["ppo"], [f"environment={file}:MyCritic"], PARTS)


OWN_REWARDS = """
from dataclasses import dataclass

from critica.rewards.base import RewardConfig
from critica.rewards.verifiers import Numeric

ran = open({ran!r}, "a").write("x")


@dataclass(frozen=True)
class Near(RewardConfig):
    tolerance: float = 0.5

    def build(self, environment, limits=None):
        return Numeric(self.tolerance).build(environment, limits)


@dataclass(frozen=True)
class Needy(RewardConfig):
    tolerance: float

    def build(self, environment, limits=None):
        return Numeric(self.tolerance).build(environment, limits)


class Plain:
    def __call__(self, task, completion):
        return 1.0


def half(task, completion):
    return 0.5
"""


def test_a_reward_in_a_file_is_a_part_if_it_is_a_class_and_a_function_is_left_to_workers(tmp_path):
    file, ran = tmp_path / "mine.py", tmp_path / "ran"
    file.write_text(OWN_REWARDS.format(ran=str(ran)))
    function = change_recipe(RECIPES["grpo"], [f"reward={file}:half"], PARTS)
    assert function.reward == Function(f"{file}:half") and not ran.exists()
    part = change_recipe(RECIPES["grpo"], [f"reward={file}:Near", "reward.tolerance=0.25"], PARTS)
    assert type(part.reward).__name__ == "Near" and part.reward.tolerance == 0.25 and ran.exists()
    saved = to_tables(part, PARTS)["reward"]
    assert saved == {"use": f"{file}:Near", "tolerance": 0.25}
    for name, words in (
        ("Plain", r"Plain must be a subclass of critica\.rewards\.base\.RewardConfig"),
        ("Needy", "Needy needs a value for tolerance"),
    ):
        with pytest.raises(ConfigError, match=words):
            change_recipe(RECIPES["grpo"], [f"reward={file}:{name}"], PARTS)


@pytest.mark.parametrize(
    ("name", "letter"),
    [("grp\u043e", "4 is '\u043e' \\(CYRILLIC SMALL LETTER O\\)"), ("dvpo\u200b", "5 is .* \\(ZERO WIDTH SPACE\\)")],
)
def test_a_letter_that_only_looks_right_is_named(name, letter):
    with pytest.raises(ConfigError, match=f"the nearest is '(grpo|dvpo)'; its character {letter}"):
        find_recipe(name, RECIPES, PARTS)
    with pytest.raises(ConfigError, match="the nearest is 'grpo'\\. There are"):
        find_recipe("grpoo", RECIPES, PARTS)


@pytest.mark.parametrize("setting", ["reward=ex\u0430ct", "noise=fl\u0456p:0.2:group", "correction=b\u0430ckward:0.2"])
def test_so_it_is_in_a_spec(setting):
    with pytest.raises(ConfigError, match=r"its character [23] is .* \(CYRILLIC"):
        change_recipe(RECIPES["grpo"], [setting], PARTS)
