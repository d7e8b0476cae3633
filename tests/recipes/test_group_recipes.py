"""What the group recipes reduce to, and that each is told apart from its neighbor by what it is named for."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.sign_weighted import SignWeighted
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio, ClippedWeight, GeometricMean
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import change_recipe
from critica.records.evidence import Evidence
from critica.records.losses import TokenMean
from critica.rollout.combine import NormalizeThenSum
from critica.training.group_estimator import COUNTING
from objectives.losses_at import learned

ROWS = ["css", "cs", "csss", "cs", "css", "cs", "cs", "cssss"]
GROUPS = [0, 0, 0, 0, 1, 1, 1, 1]
OUTCOMES = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]


def credit(recipe, outcomes=OUTCOMES):
    batch = token_batch(ROWS, GROUPS)
    told = told_batch(batch, outcomes)
    values = COUNTING[type(recipe.critic)](recipe.critic).predict(batch, told, Evidence())
    return recipe.advantage.estimate(batch, told, values, Evidence()).advantage


def same_credit(one, other):
    torch.testing.assert_close(credit(one), credit(other), atol=1e-6, rtol=0)


def same_update(one, other, **how):
    found = [learned(replace(recipe.objective, penalties=()), **how)[0] for recipe in (one, other)]
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=1e-12, rtol=0)


def changed(name, *settings):
    return change_recipe(RECIPES[name], settings, PARTS)


@pytest.mark.parametrize("name", ["gspo", "cispo", "sapo", "gmpo"])
def test_other_surrogates_keep_the_credit_of_grpo(name):
    same_credit(RECIPES[name], RECIPES["grpo"])


def test_symmetric_hpo_is_grpo_with_the_mean_over_tokens():
    symmetric = changed("hpo", "advantage.alpha=1")
    same_credit(symmetric, RECIPES["grpo"])
    assert symmetric.objective == replace(RECIPES["grpo"].objective, reduction=TokenMean(), penalties=())
    assert not torch.equal(credit(RECIPES["hpo"]), credit(RECIPES["grpo"]))
    positive = changed("hpo", "advantage.alpha=0")
    assert not (credit(positive) < 0).any() and (credit(positive) > 0).any()


def test_adaptive_hpo_is_hpo_at_the_steps_own_alpha():
    """Three right and five wrong answers: alpha = 3 / 5."""
    fixed = replace(RECIPES["hpo"], advantage=SignWeighted(RECIPES["hpo"].advantage.inner, 0.6))
    same_credit(RECIPES["a_hpo"], fixed)
    more_right = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    torch.testing.assert_close(
        credit(RECIPES["a_hpo"], more_right), credit(changed("hpo", "advantage.alpha=1"), more_right)
    )


def test_gspo_by_the_token_is_grpo_with_its_clip():
    token = changed("gspo", "objective.level=token")
    grpo = changed("grpo", "objective.surrogate.low=0.0003", "objective.surrogate.high=0.0004")
    same_update(token, grpo)
    with pytest.raises(AssertionError):
        same_update(RECIPES["gspo"], grpo)


def test_gmpo_without_a_clip_is_gspo_without_one():
    gmpo = replace(RECIPES["gmpo"], objective=replace(RECIPES["gmpo"].objective, surrogate=GeometricMean(50.0, 50.0)))
    wide = replace(RECIPES["gspo"].objective, surrogate=ClippedRatio(0.999, 1e9))
    same_update(gmpo, replace(RECIPES["gspo"], objective=wide))
    with pytest.raises(AssertionError):
        same_update(RECIPES["gmpo"], replace(RECIPES["gspo"], objective=wide))


def test_cispo_without_bounds_has_the_gradient_of_the_plain_ratio():
    bare = PolicyLoss(ClippedWeight(0.0, 1e9), TokenMean())
    ratio = PolicyLoss(ClippedRatio(0.999, 1e9), TokenMean())
    same_update(replace(RECIPES["cispo"], objective=bare), replace(RECIPES["cispo"], objective=ratio))


def test_rl2ml_is_rloo_at_power_zero_and_maximum_likelihood_at_one():
    same_credit(changed("rl2ml", "advantage.weights.power=0"), RECIPES["rloo"])
    one = changed("rl2ml", "advantage.weights.power=1", "advantage.baseline=one")
    same_credit(one, RECIPES["max_rl"])
    same_credit(changed("pkpo", "advantage.weights.tries=1", "advantage.baseline=others"), RECIPES["rloo"])


def test_opo_with_answers_of_one_length_is_dr_grpo():
    batch = token_batch(["css"] * 8, GROUPS)
    told = told_batch(batch, OUTCOMES)
    found = []
    for name in ("opo", "dr_grpo"):
        recipe = RECIPES[name]
        values = COUNTING[type(recipe.critic)](recipe.critic).predict(batch, told, Evidence())
        found.append(recipe.advantage.estimate(batch, told, values, Evidence()).advantage)
    torch.testing.assert_close(*found)


def test_reinforce_pp_with_a_baseline_is_grpo_where_groups_are_alike():
    """Two groups of equal spread and answers of one length: the step's deviation is the group's, but for ddof."""
    batch = token_batch(["cs"] * 8, GROUPS)
    told = told_batch(batch, [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    found = []
    for name in ("reinforce_pp_baseline", "grpo"):
        recipe = RECIPES[name]
        values = COUNTING[type(recipe.critic)](recipe.critic).predict(batch, told, Evidence())
        found.append(recipe.advantage.estimate(batch, told, values, Evidence()).advantage)
    whole, group = (2.0 / 7) ** 0.5, (1.0 / 3) ** 0.5
    torch.testing.assert_close(found[0] * whole, found[1] * group, atol=1e-5, rtol=0)


def test_gdpo_standardizes_each_reward_and_then_their_sum():
    """The note's example: (0, 2, 0, -2) whatever the second reward's unit."""
    recipe = RECIPES["gdpo"]
    assert recipe.placement.combination == NormalizeThenSum() and recipe.advantage.scale == "batch"
    for unit in (1.0, 100.0):
        outcome = torch.tensor([[1.0, 0.0], [1.0, unit], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
        known = torch.ones_like(outcome, dtype=torch.bool)
        combined = recipe.placement.combination.apply(outcome, known, torch.zeros(4, dtype=torch.long)).outcome.sum(-1)
        assert combined.tolist() == pytest.approx([0, 2, 0, -2], abs=1e-4)
        batch = token_batch(["cs"] * 4, [0] * 4)
        told = told_batch(batch, combined.tolist())
        values = COUNTING[type(recipe.critic)](recipe.critic).predict(batch, told, Evidence())
        found = recipe.advantage.estimate(batch, told, values, Evidence()).advantage[:, 1]
        spread = (8 / 3) ** 0.5
        assert found.tolist() == pytest.approx([0, 2 / spread, 0, -2 / spread], abs=1e-4)


def test_best_of_a_group_is_the_gradient_of_pass_at_n_over_n():
    """Of four answers one is right: PassAt(4) credits it by 4, BestOnly by 1; two right ones teach neither."""
    best = change_recipe(RECIPES["pkpo"], ["advantage=best_only"], PARTS)
    torch.testing.assert_close(credit(RECIPES["pkpo"]), 4 * credit(best))
    assert not credit(best)[:4].any() and credit(best)[7, 1] == 1.0
