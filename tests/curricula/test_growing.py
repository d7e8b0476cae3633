"""Groups that grow: when, by how much, at what price in prompts; and difficulty windows."""

import math

import numpy as np
import pytest

from critica.curricula.base import Budget
from critica.curricula.growing import GrowingGroups, GrowthProblem
from critica.environments.digit_sum import DigitSum
from critica.policies.base import SampleLimits
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import change_recipe
from critica.records.arrays import Metric
from critica.records.supervision import Abstained, Reward, Scale, Scored
from critica.rollout.admission import AcceptAll, DifficultyWindow, Informative
from critica.training.plan import describe, plan


def live(part=None, prompts=16, samples=8):
    budget = Budget(prompts, samples, SampleLimits(6), 0, False)
    return (part or GrowingGroups()).build(DigitSum().build(0), budget)


def tell(curriculum, mixed):
    curriculum.feedback([Metric("reward/told", 1.0, 1.0), Metric("prompts/mixed", mixed * 10, 10.0)])


def test_the_rollouts_of_a_step_stay_as_many():
    curriculum, seen = live(GrowingGroups(window=2)), []
    for step in range(1, 9):
        request = curriculum.next(step)
        seen.append((request.prompts, request.samples_per_prompt))
        tell(curriculum, 0.1)
    assert seen == [(16, 8)] * 2 + [(8, 16)] * 2 + [(4, 32)] * 2 + [(2, 64)] * 2
    assert curriculum.next(9).samples_per_prompt == 64  # there is no larger size


def test_it_waits_for_a_full_window_above_the_share():
    curriculum = live(GrowingGroups(window=4, share=0.5))
    for mixed in (0.1, 0.1, 0.1, 0.9, 0.9, 0.5):
        assert curriculum.size == (8 if curriculum.place == 0 else 16)
        tell(curriculum, mixed)
    assert curriculum.place == 1  # after the fourth: silent shares of .9, .9, .9 and .1, a mean of .7
    tell(curriculum, 0.1)
    assert curriculum.place == 1  # the window was emptied


def test_half_silent_is_not_more_than_half():
    curriculum = live(GrowingGroups(window=3))
    for _ in range(10):
        tell(curriculum, 0.5)
    curriculum.feedback([Metric("prompts/mixed", 0.0, 0.0)])  # nothing was counted
    assert curriculum.size == 8


def test_it_goes_on_where_it_was_saved():
    first = live(GrowingGroups(window=3))
    for mixed in (0.0, 0.0, 0.0, 0.2):
        tell(first, mixed)
    first.draw(5)
    second = live(GrowingGroups(window=3))
    second.load_state_dict(first.state_dict())
    assert second.next(5) == first.next(5) and second.size == 16
    assert [t.task_id for t in second.draw(3)] == [t.task_id for t in first.draw(3)]
    for curriculum in (first, second):
        tell(curriculum, 0.1)
        assert curriculum.size == 16
        tell(curriculum, 0.1)
        assert curriculum.size == 32


def moment(a, b, k):
    """E[p^k] under Beta(a, b)."""
    return math.exp(math.lgamma(a + k) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(a + b + k))


def test_on_hard_prompts_groups_grow_and_more_of_them_tell_something():
    """Beta(.3, 3) prompts: a group of G is mixed with probability 1 - E p^G - E (1 - p)^G, .25 at 8 and .51 at 64."""
    wanted = {g: 1 - moment(0.3, 3.0, g) - moment(3.0, 0.3, g) for g in (8, 16, 32, 64)}
    dice, curriculum, seen = np.random.default_rng(0), live(), {}
    for step in range(1, 501):
        request = curriculum.next(step)
        chances = dice.beta(0.3, 3.0, request.prompts)
        solved = dice.binomial(request.samples_per_prompt, chances)
        mixed = float(np.mean((solved > 0) & (solved < request.samples_per_prompt)))
        seen.setdefault(request.samples_per_prompt, []).append(mixed)
        curriculum.feedback([Metric("prompts/mixed", mixed * request.prompts, float(request.prompts))])
    assert list(seen) == [8, 16, 32, 64]
    for size, shares in seen.items():
        error = 4 * math.sqrt(0.25 / (len(shares) * (128 // size)))
        assert abs(float(np.mean(shares)) - wanted[size]) < error
    assert wanted[8] < wanted[16] < wanted[32] < wanted[64]


def test_on_prompts_of_middling_difficulty_they_stay():
    dice, curriculum = np.random.default_rng(1), live()
    for step in range(1, 201):
        request = curriculum.next(step)
        solved = dice.binomial(request.samples_per_prompt, dice.beta(2.0, 2.0, request.prompts))
        tell(curriculum, float(np.mean((solved > 0) & (solved < request.samples_per_prompt))))
    assert curriculum.size == 8


def test_wrong_settings_are_refused():
    for wrong in ({"doublings": 0}, {"share": 1.0}, {"window": 0}):
        with pytest.raises(GrowthProblem):
            GrowingGroups(**wrong)
    with pytest.raises(ConfigError, match="admission=accept_all"):
        change_recipe(RECIPES["aryabhata2"], ["admission=informative"], PARTS)


def test_it_ends_where_prompts_cannot_be_halved_and_the_plan_says_so():
    assert GrowingGroups().sizes(16, 8) == (8, 16, 32, 64)
    assert GrowingGroups().sizes(12, 4) == (4, 8, 16)
    assert GrowingGroups(doublings=1).sizes(12, 4) == (4, 8)
    odd = change_recipe(RECIPES["aryabhata2"], ["sampling.prompts_per_step=3"], PARTS)
    assert any("never grow" in remark for remark in plan(odd).remarks)
    usual = plan(RECIPES["aryabhata2"])
    assert not any("never grow" in remark for remark in usual.remarks)
    assert "growing to at most 64" in describe(usual, RECIPES["aryabhata2"])


def test_standardized_objectives_know_how_large_groups_may_grow():
    """One of 64 values is at most 63 / 8 deviations from their mean, not 7 / sqrt(8)."""
    recipe = change_recipe(RECIPES["aryabhata2"], ["placement.combination=normalize_then_sum"], PARTS)
    (told,) = recipe.told_scales((Scale("r", 0.0, 1.0),))
    assert told.high == pytest.approx(63 / 8, abs=1e-3)


def rewards(*values):
    outcomes = [Abstained("silent") if value is None else Scored(value) for value in values]
    return [Reward("r", str(n), outcome) for n, outcome in enumerate(outcomes)]


def test_with_right_and_wrong_alone_the_published_window_is_dynamic_sampling():
    for known in range(0, 9):
        for solved in range(known + 1):
            group = rewards(*[1.0] * solved, *[0.0] * (known - solved), *[None] * (8 - known))
            assert bool(DifficultyWindow().rejects(group)) == bool(Informative().rejects(group)), (known, solved)


def test_the_window_says_on_which_side_a_prompt_lies():
    rule = DifficultyWindow(low=0.25, high=0.75)
    assert rule.rejects(rewards(0.0, 0.5)) == "too_hard"
    assert rule.rejects(rewards(1.0, 0.5, None)) == "too_easy"
    assert rule.rejects(rewards(1.0, 0.0)) == "" == rule.rejects(rewards(0.5, 0.5))
    assert rule.rejects(rewards(None, None)) == "no_outcome"
    assert AcceptAll().shows_silent and not rule.shows_silent and not Informative().shows_silent
    with pytest.raises(ValueError, match="low < high"):
        DifficultyWindow(low=0.5, high=0.5)
