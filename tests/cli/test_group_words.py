"""`critica recipes weight` and `--preset`: what they print, and what they refuse."""

import json

import pytest

from critica.cli.choice import Choice, resolve
from critica.cli.recipes import Recipes
from critica.recipes.coercion import ConfigError


def said(capsys, *words, **how):
    assert Recipes(words=words, **how)() == 0
    return capsys.readouterr()


def test_weights_are_printed_for_any_configuration(capsys):
    out, err = said(capsys, "weight", "max_rl", samples_per_prompt=4)
    rows = [line.split() for line in out.splitlines()[1:]]
    for p, weight, _ in rows:
        assert float(weight) == pytest.approx((1 - (1 - float(p)) ** 4) / float(p), abs=1e-4)
    assert len(rows) > 8 and "W(p) = (1 - (1 - p)^n) / p, n = 4" in err
    out, _ = said(capsys, "weight", "rl2ml", set=("advantage.weights.power=0",), json=True)
    told = json.loads(out)
    assert told["samples_per_prompt"] == 8 and told["whole_step"] is False
    assert [one["weight"] for one in told["weights"]] == pytest.approx([1.0] * len(rows))


def test_a_weight_under_a_preset_is_that_librarys(capsys):
    out, _ = said(capsys, "weight", "grpo", preset="prime-rl", json=True)
    assert [one["weight"] for one in json.loads(out)["weights"]] == pytest.approx([7 / 8] * 11)


def test_whole_steps_say_so(capsys):
    _, err = said(capsys, "weight", "a_hpo", samples_per_prompt=3)
    assert "a step of two prompts" in err and "W(p) =" not in err


def test_credit_without_a_weight_is_refused():
    with pytest.raises(ConfigError, match="ScalarCritic looks at more than outcomes"):
        Recipes(words=("weight", "ppo"))()
    with pytest.raises(ConfigError, match="samples-per-prompt 8"):
        Recipes(words=("weight", "reinforce"), samples_per_prompt=1)()
    with pytest.raises(ConfigError, match="recipes weight NAME"):
        Recipes(words=("weigh", "ppo"))()


def test_settings_win_over_a_preset_and_shown_recipes_name_their_library(capsys):
    recipe = resolve(Choice(recipe="grpo", preset="trl", set=("advantage.epsilon=0.5",)))
    assert recipe.advantage.epsilon == 0.5 and recipe.objective.penalties == ()
    out, _ = said(capsys, "show", "grpo", preset="trl")
    assert "epsilon = 0.0001  # code: trl: 0.0001 beside the group's deviation" in out
    out, _ = said(capsys, "show", "grpo")
    assert "trl:" not in out
