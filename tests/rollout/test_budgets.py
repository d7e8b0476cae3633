"""Budgets: every sample is given, floors and ceilings hold, and what a critic cannot inform is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from critica.critics.counted import GroupMean
from critica.critics.fused_value import FusedValue, FusedValueCritic
from critica.critics.posterior import BetaPosterior, BetaPosteriorCritic
from critica.critics.prompt_value import PromptValue, PromptValueCritic
from critica.functional.budget import allocate_evenly, allocate_exactly, allocate_greedily, mixed_chance, mixed_failures
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import change_recipe
from critica.records.supervision import Failed, Reward, Scored
from critica.records.words import Message, Task
from critica.rollout.budget import Allocator, BudgetProblem, BudgetRule, Standing, Uniform
from critica.rollout.forecast_budgets import ExpectedFailures, MixedGroups
from critica.rollout.until_certain import UntilCertain

RULES = [ExpectedFailures(2, 9), ExpectedFailures(2, 9, exact=True), MixedGroups(2, 9)]


def t(values):
    return torch.tensor(values, dtype=torch.float64)


def fresh(rates, mean):
    zeros = (0,) * len(rates)
    return Standing(t(rates), t([9.0] * len(rates)), zeros, zeros, (0.0,) * len(rates), mean)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_everything_is_given_between_floor_and_ceiling(rule, seed):
    dice = np.random.default_rng(seed)
    rates = [0.0, 1.0, *dice.random(int(dice.integers(1, 12))).tolist()]
    given = rule.wants(fresh(rates, 5))
    assert sum(given) == 5 * len(rates) and min(given) >= 2 and max(given) <= 9
    assert len(set(given)) > 1
    done = replace(fresh(rates, 5), written=given, known=given)
    assert rule.wants(done) == (0,) * len(rates)


@pytest.mark.parametrize("rule", RULES)
def test_prompts_that_are_forecast_alike_get_alike(rule):
    """A convex utility would feed the first of them."""
    assert rule.wants(fresh([0.05] * 6, 4)) == (4,) * 6
    assert rule.wants(fresh([0.05, 0.05 + 1e-9], 4)) == (4, 4)
    assert allocate_greedily(24, [0.05] * 6, 2, 9) != (4,) * 6


def test_mixed_groups_treats_success_and_failure_alike():
    rates = [0.03, 0.2, 0.5, 0.8, 0.97]
    given = MixedGroups(2, 30).wants(fresh(rates, 8))
    assert given[0] == given[4] and given[1] == given[3]
    assert given[2] < given[0] < given[1]  # half and half is mixed soonest; rare outcomes pay less for each sample
    lean = MixedGroups(2, 30).wants(fresh([0.001, 0.5], 3))
    assert lean[1] > lean[0]  # what will not be mixed with six samples either gets the least


def test_more_samples_take_none_away():
    rates = [0.1, 0.35, 0.6, 0.92]
    for utility in (mixed_failures, mixed_chance):
        before = (0,) * 4
        for total in range(8, 60):
            given = allocate_greedily(total, rates, 2, 20, utility)
            assert sum(given) == total and all(a <= b for a, b in zip(before, given, strict=True))
            before = given


def test_greedy_is_best_where_the_utility_is_concave_and_not_where_it_is_convex():
    def worth(utility, given, rates):
        return sum(utility(b, p) for b, p in zip(given, rates, strict=True))

    rates = [0.05, 0.3, 0.6]
    for total in (12, 20, 33):
        best = allocate_exactly(total, rates, 2, 30, mixed_chance)
        greedy = allocate_greedily(total, rates, 2, 30, mixed_chance)
        assert worth(mixed_chance, greedy, rates) == pytest.approx(worth(mixed_chance, best, rates), abs=1e-12)
    exact = ExpectedFailures(2, 30, exact=True).wants(fresh([0.05, 0.6], 15))
    greedy = ExpectedFailures(2, 30).wants(fresh([0.05, 0.6], 15))
    assert worth(mixed_failures, exact, [0.05, 0.6]) > 1.05 * worth(mixed_failures, greedy, [0.05, 0.6])


def test_what_gains_nothing_is_still_given_to_those_with_the_fewest():
    assert allocate_exactly(11, [1.0, 0.0, 1.0], 2, 20) == (4, 4, 3)
    assert allocate_exactly(100, [1.0, 0.5], 2, 8) == (8, 8)
    assert allocate_evenly(11, 3) == (4, 4, 3)


def rewards(*rows):
    said = {"-": Failed("x"), "1": Scored(1.0), "0": Scored(0.0)}
    return [[Reward("r", f"{i}.{j}", said[c]) for j, c in enumerate(row)] for i, row in enumerate(rows)]


def test_more_are_asked_for_where_outcomes_contradict_the_forecast():
    rule = UntilCertain(first=2, chunk=2, most=6)
    allocator = Allocator(rule)
    expected = t([0.9, 0.9, 0.9, 0.9]), t([8.0] * 4)
    assert allocator.more(expected, rewards("", "", "", ""), 4) == (2, 2, 2, 2)
    assert allocator.more(expected, rewards("11", "00", "10", "--"), 4) == (0, 2, 2, 0)
    # the pool is prompts x 4 = 16: the most surprised go first, and nobody goes beyond `most`
    assert allocator.more(expected, rewards("11", "0000", "1000", "00000"), 4) == (0, 0, 0, 1)
    assert allocator.more(expected, rewards("11", "000000", "10", "11"), 4) == (0, 0, 2, 0)
    # a forecast that proved worth nothing cannot be contradicted: any outcome is as likely as another
    assert allocator.more((t([0.9]), t([0.0])), rewards("11"), 9) == (0,)


def test_outcomes_are_scaled_to_the_source_s_range():
    rule, expected = UntilCertain(first=2, chunk=2, most=6), (t([0.9]), t([8.0]))
    told = [[Reward("r", "a", Scored(-1.0)), Reward("r", "b", Scored(-1.0))]]
    assert Allocator(rule, low=-1.0, high=1.0).more(expected, told, 8) == (2,)
    assert Allocator(rule, low=-1.0, high=-0.5).more(expected, [[Reward("r", "a", Scored(-0.5))] * 2], 8) == (0,)


class Greedy(BudgetRule):
    """Asks for what it has not."""

    def __init__(self, given):
        self.given = given

    def wants(self, standing):
        return self.given


@pytest.mark.parametrize("given", [(0, 4), (5, 4), (4,), (-1, 4)])
def test_a_rule_that_asks_for_the_impossible_is_stopped(given):
    with pytest.raises(BudgetProblem, match="are left to give"):
        Allocator(Greedy(given)).more((t([0.5, 0.5]), t([0.0, 0.0])), [[], []], 4)


def tasks(*prompts):
    return [Task(f"task {p}", "world", (Message("user", p),), "") for p in prompts]


def test_what_critics_forecast():
    posterior = BetaPosteriorCritic(BetaPosterior(strength=2.0, half_life_steps=float("inf")))
    posterior.memory.tick({"task a": (4.0, 4.0)}, (19.0, 9.5))
    rate, worth = posterior.forecast(tasks("a", "b"))
    assert rate.tolist() == pytest.approx([(2 * 0.5 + 4) / 6, 0.5]) and worth.tolist() == [6.0, 2.0]
    assert posterior.forecast([])[0].shape == (0,)
    prior = PromptValueCritic(PromptValue())
    assert prior.forecast(tasks("a"))[0].tolist() == prior.rates(["a"])[0].tolist()
    fused = FusedValueCritic(FusedValue(), prior)
    assert fused.forecast(tasks("a", "b"))[1].tolist() == pytest.approx([fused.strength] * 2)
    assert Uniform().wants(fresh([0.1, 0.9], 3)) == (3, 3)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("grpo", ["budget=expected_failures"], "set critic=prompt_value"),
        ("dvpo", ["budget=mixed_groups"], "QuantileCritic expects nothing before"),
        ("v0", ["budget=until_certain"], "set critic=fused_value"),
        ("v0", ["budget=expected_failures", "budget.fewest=9"], "the budget allows 9 to 32"),
        ("v0", ["budget=expected_failures", "budget.most=7"], "change budget.fewest or budget.most"),
        ("v0", ["budget=expected_failures", "budget.fewest=0"], "1 <= fewest <= most"),
        ("v0_5_budget", ["budget.first=17"], "1 <= first <= most"),
        ("v0_5_budget", ["budget.certainty=-1"], "cannot be negative"),
        ("v0_5_budget", ["sampling.samples_per_prompt=17"], "the budget allows 2 to 16"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_way_out(name, settings, said):
    with pytest.raises(Exception, match=said):
        change_recipe(RECIPES[name], settings, PARTS)


def test_siblings_need_two_samples_each():
    with pytest.raises(BudgetProblem, match=r"budget\.fewest=2"):
        Rule = type("Rule", (ExpectedFailures,), {"reads_forecasts": False})
        Rule(fewest=1).check(GroupMean(), 4)
    RECIPES["v0"].budget.check(GroupMean(), 4)
    change_recipe(RECIPES["beta_baseline"], ["budget=expected_failures"], PARTS)
