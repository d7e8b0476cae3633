"""The generated critic pages: up to date, whole, and sorted as the docstrings say."""

import json
from dataclasses import dataclass

import pytest

from critica.cli.critic_pages import COSTS, NOT, USE, figures, pages, read_prose, users_of
from critica.critics.scalar import ScalarCritic
from critica.recipes.catalogue import PARTS, RECIPES


@dataclass(frozen=True)
class Example:
    """V = 1 for `size` reasons (Somebody et al. 2020).

    Reduces to nothing. Use it on Mondays; not on Tuesdays. Not at night either. Costs one coin.
    """

    size: int = 3


def test_a_docstring_is_sorted_by_how_its_sentences_begin():
    prose = read_prose(Example)
    assert prose.equation == "V = 1 for `size` reasons (Somebody et al. 2020)." and prose.rest == "Reduces to nothing."
    assert prose.parts == {
        USE: "Use it on Mondays.", NOT: "Not on Tuesdays. Not at night either.", COSTS: "Costs one coin."
    }  # fmt: skip


@pytest.mark.parametrize("name", PARTS["critic"])
def test_every_critic_says_when_to_use_it_when_not_and_what_it_costs(name):
    prose = read_prose(PARTS["critic"][name])
    missing = [title for title, text in prose.parts.items() if not text]
    assert not missing, f"the docstring of {PARTS['critic'][name].__name__} lacks: {missing}"


def test_the_committed_pages_are_up_to_date(root):
    made = pages(PARTS["critic"], RECIPES, root / "benchmarks")
    found = {path.name: path.read_text() for path in (root / "docs" / "critics").glob("*.md")}
    assert sorted(found) == sorted(made), "run `make pages`"
    stale = [name for name, text in made.items() if found[name] != text]
    assert not stale, f"run `make pages`: {stale}"


def test_defaults_are_written_as_one_would_write_them(root):
    for name, text in pages(PARTS["critic"], RECIPES, root / "benchmarks").items():
        assert " object at 0x" not in text, name


def test_a_recipe_uses_what_its_critic_has_inside():
    assert "proact" in users_of(ScalarCritic, RECIPES) and "grpo" not in users_of(ScalarCritic, RECIPES)


def test_figures_are_read_tolerantly(tmp_path):
    assert figures("scalar", ["ppo"], tmp_path) == ""
    (tmp_path / "counted_cost.json").write_text(json.dumps({"shares": [{"recipe": "ppo", "share": 0.25}, {"x": 1}]}))
    (tmp_path / "recipes.json").write_text("{ torn")
    (tmp_path / "critics.json").write_text(json.dumps({"deep": [{"critic": "scalar"}]}))
    said = figures("scalar", ["ppo"], tmp_path)
    assert "take 25.0% of a step" in said and "[critics]" in said and "recipes.md" not in said
