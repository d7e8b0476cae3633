"""Quantile-count, stop-rule and espo benches: sides that differ in one thing, breaches said, pages by hand."""

import pytest

from critica.benches.base import Order
from critica.benches.espo import EspoSettings, recipe_of
from critica.benches.espo_table import Run, ahead, espo_table, saved
from critica.benches.quantile_count import Count, QuantileCountSettings
from critica.benches.quantile_count import measured as count_measured
from critica.benches.quantile_count import write as write_counts
from critica.benches.stop_rule import StopRuleSettings, Watched
from critica.benches.stop_rule import measured as rule_measured
from critica.benches.stop_rule import write as write_rule
from critica.functional.statistics import Interval
from critica.rollout.control import NoControl


def test_breaches_of_the_promises_are_written_down(tmp_path):
    ratios = [Interval(value, 1.0, 1.3) for value in (1.05, 1.2)]
    counts = [Count("1M", 1, 0.1, 0.105, ratios[0]), Count("5M", 5, 0.1, 0.12, ratios[1])]
    page = write_counts(Order(out=tmp_path), QuantileCountSettings(), counts).read_text()
    assert "| 1M | 1 | 100 | 105 | 1.050 [1.000, 1.300] | pass |" in page and "1.200 [1.000, 1.300] | FAIL |" in page
    slow = Watched(0.1, 0.12, ratios[1], 100)
    assert "FAIL" in write_rule(Order(out=tmp_path), StopRuleSettings(), slow).read_text()


def test_both_sides_of_the_rule_write_the_same_tokens():
    """The bench itself refuses a rule that changes one."""
    found = rule_measured(StopRuleSettings(rounds=1, prompts=2, samples=2))
    assert found.tokens > 0 and found.alone > 0 and found.ratio.estimate > 0


def test_a_step_is_measured_with_one_quantile_and_with_many():
    found = count_measured("1M", "pico", QuantileCountSettings(rounds=2, prompts=2, samples=2))
    assert found.one > 0 and found.many > 0 and found.parameters > 900_000


def run(arm, seed, tokens, after):
    return Run(arm, seed, tokens, 0.1, 10, 2, (0.5, 0.5), (after, after), 1.0)


RUNS = [
    *(run("none", seed, 1000, 0.8) for seed in range(2)),
    *(run("regret", seed, 900, 0.7 + 0.1 * seed) for seed in range(2)),
    *(run("random", seed, 800, 0.6) for seed in range(2)),
]


def test_arms_are_compared_seed_by_seed():
    assert saved(RUNS, "regret") == pytest.approx([0.1, 0.1]) and saved(RUNS, "random") == pytest.approx([0.2, 0.2])
    assert ahead(RUNS, "regret", "random", 0) == pytest.approx([0.1, 0.2])
    page = espo_table({"processor": "x", "commit": "y"}, {"steps": 9, "warmup_steps": 2, "prompts": 1, "samples": 1,
                                                         "audit": 0.1, "held_out": 5}, RUNS)  # fmt: skip
    assert "20.0% [8.1, 41.6]" in page  # 4 of 20, Wilson


def test_the_arms_differ_in_the_control_alone():
    settings = EspoSettings()
    none, regret, random = (recipe_of(arm, 1, settings, 0.07) for arm in ("none", "regret", "random"))
    assert isinstance(none.control, NoControl) and not regret.control.at_random and random.control.at_random
    assert random.control.target == 0.07 and regret.control.target == settings.target
    assert (none.critic, none.learner, none.sampling) == (random.critic, random.learner, random.sampling)
