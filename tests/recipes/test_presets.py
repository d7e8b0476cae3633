"""Other libraries' conventions: what `--preset` changes, and numbers by hand from each library's own formulas."""

import math

import pytest
import torch

from arrays import token_batch, told_batch
from critica.objectives.mismatch import Masked, Truncated
from critica.objectives.surrogates import ClippedRatio, ClippedWeight, MaskedShift
from critica.recipes.base import CodeSays
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.presets import PRESETS, apply_preset
from critica.records.evidence import Evidence
from critica.records.losses import Constant, SequenceMeanOfTokenMeans, SequenceMeanOfTokenSums, TokenMean
from critica.training.group_estimator import COUNTING
from objectives.losses_at import by_hand


def preset(name, library):
    return apply_preset(RECIPES[name], library, PARTS)


def credit(recipe, outcomes):
    batch = token_batch(["cs"] * len(outcomes), [0] * len(outcomes))
    told = told_batch(batch, outcomes)
    values = COUNTING[type(recipe.critic)](recipe.critic).predict(batch, told, Evidence())
    return recipe.advantage.estimate(batch, told, values, Evidence()).advantage[:, 1].tolist()


@pytest.mark.parametrize(
    ("library", "divisor"), [("trl", 0.5 + 1e-4), ("verl", 0.5 + 1e-6), ("openrlhf", 0.5 + 1e-9), ("prime-rl", 1.0)]
)
def test_grpo_credit_by_hand(library, divisor):
    """Outcomes 1, 0, 0, 0: mean 1/4, deviation with ddof=1 exactly 1/2."""
    found = credit(preset("grpo", library), [1.0, 0.0, 0.0, 0.0])
    assert found == pytest.approx([0.75 / divisor] + [-0.25 / divisor] * 3, rel=2e-7)


def test_max_rl_of_prime_rl_divides_by_the_mean_and_drops_what_all_fails():
    recipe = preset("max_rl", "prime-rl")
    assert credit(recipe, [1.0, 0.0, 0.0, 0.0]) == pytest.approx([3, -1, -1, -1])
    assert credit(recipe, [0.0] * 4) == [0.0] * 4
    assert credit(RECIPES["max_rl"], [0.0] * 4) == [-1.0] * 4


ROWS = ["csss", "cs"]
POLICY = [-0.2, -1.0, -0.7, -0.4]
CREDIT = [0.9, 0.9, 0.9, -1.3]


def gradient(recipe, proximal, behavior=None):
    return by_hand(recipe.objective, ROWS, POLICY, proximal, behavior or proximal, CREDIT)[1]


@pytest.mark.parametrize("library", ["trl", "verl", "openrlhf"])
def test_grpo_loss_is_a_mean_over_tokens_and_has_no_kl(library):
    recipe = preset("grpo", library)
    assert RECIPES["grpo"].objective.reduction == SequenceMeanOfTokenMeans()
    assert recipe.objective.reduction == TokenMean() and not recipe.objective.penalties
    proximal = [-0.25, -1.5, -0.7, -0.5]  # ratios e^.05, e^.5 (clipped: A > 0), 1, e^.1
    expected = [-0.9 * math.exp(0.05) / 4, 0.0, -0.9 / 4, 1.3 * math.exp(0.1) / 4]
    assert gradient(recipe, proximal) == pytest.approx(expected)


def test_only_verl_bounds_the_loss_of_blamed_tokens_that_became_likely():
    proximal = [-0.2, -1.0, -0.7, -1.9]  # the blamed token's ratio is e^1.5 = 4.5, above 3
    found = {library: gradient(preset("grpo", library), proximal)[3] for library in ("trl", "verl", "openrlhf")}
    assert found == {"trl": pytest.approx(1.3 * math.exp(1.5) / 4), "verl": 0.0, "openrlhf": found["trl"]}


def test_each_corrects_another_mismatch():
    behavior = [-0.2, -1.0, -0.7 - math.log(2.5), -0.4 - math.log(3.5)]  # rows weigh 2.5 and 3.5
    plain = [-0.9 / 4] * 3 + [1.3 / 4]
    found = {library: gradient(preset("grpo", library), POLICY, behavior) for library in ("trl", "verl", "openrlhf")}
    assert found["trl"] == pytest.approx([2.5 * x for x in plain[:3]] + [0.0])
    assert found["verl"] == pytest.approx([2 * x for x in plain])
    assert found["openrlhf"] == pytest.approx(plain)
    assert preset("grpo", "trl").objective.mismatch == (Masked(0.0, 3.0, "sequence"),)
    assert preset("grpo", "verl").objective.mismatch == (Truncated(2.0, "sequence"),)


def test_prime_rl_compares_probabilities_with_the_sampler():
    recipe = preset("grpo", "prime-rl")
    assert recipe.objective.surrogate == MaskedShift(0.2, 1e-3) and recipe.objective.center == "behavior"
    behavior = [math.log(0.5), -1.0, -0.7, -0.4]  # the first token rose from .5 to .82 and is praised: dropped
    found = gradient(recipe, POLICY, behavior)
    moved = -0.2 - math.log(0.5)
    assert found == pytest.approx([2e-3 * moved / 4, -0.9 / 4, -0.9 / 4, 1.3 / 4])


def test_cispo_bounds_mean_different_things():
    assert preset("cispo", "trl").objective.surrogate == ClippedWeight(0.0, 5.0)
    assert preset("cispo", "verl").objective.surrogate == ClippedWeight(0.8, 1.2)
    proximal = [-0.2, -2.0, -0.7, -0.4]  # one ratio is e
    assert gradient(preset("cispo", "trl"), proximal)[1] == pytest.approx(-0.9 * math.e / 4)
    assert gradient(preset("cispo", "verl"), proximal)[1] == pytest.approx(-0.9 * 1.2 / 4)


def test_rloo_of_trl_clips_the_ratio_of_whole_completions():
    recipe = preset("rloo", "trl")
    assert recipe.placement.reference_kl == 0.05 and recipe.objective.reduction == SequenceMeanOfTokenSums()
    proximal = [-0.25, -1.02, -0.72, -0.5]  # the rows' ratios are e^.09 and e^.1
    expected = [-0.9 * math.exp(0.09) / 2] * 3 + [1.3 * math.exp(0.1) / 2]
    assert gradient(recipe, proximal) == pytest.approx(expected)
    clipped = gradient(recipe, [-0.25, -1.2, -0.72, -0.5])  # e^.27 > 1.2: the whole row is silent
    assert clipped[:3] == [0.0] * 3 and clipped[3] > 0


def test_what_is_the_methods_own_stays():
    for library in PRESETS:
        assert isinstance(preset("dr_grpo", library).objective.reduction, Constant)
        gspo = preset("gspo", library).objective
        assert gspo.level == "sequence_mean" and gspo.reduction == SequenceMeanOfTokenMeans()
        assert (gspo.surrogate.low, gspo.surrogate.high) == (3e-4, 4e-4)
    for library in ("trl", "verl", "openrlhf"):
        assert (preset("dapo", library).objective.surrogate.low, preset("dapo", library).objective.surrogate.high) == (
            0.2, 0.28
        )  # fmt: skip
    assert preset("hpo", "trl").advantage.inner.epsilon == 1e-4 and preset("hpo", "trl").advantage.alpha == 0.6


def test_ppo_with_a_value_head():
    verl, openrlhf, trl = (preset("ppo", library) for library in ("verl", "openrlhf", "trl"))
    assert verl.critic.clip == openrlhf.critic.clip == 0.5
    assert verl.advantage.inner.decay == openrlhf.advantage.inner.decay == 1.0
    assert trl.critic == RECIPES["ppo"].critic
    assert openrlhf.placement.reference_kl == 0.01 and verl.placement.reference_kl == 0
    assert isinstance(verl.objective.surrogate, ClippedRatio) and verl.objective.surrogate.dual == 3.0


def test_every_changed_value_says_whose_it_is():
    recipe = preset("grpo", "trl")
    assert recipe.provenance["advantage.epsilon"] == CodeSays("trl: 0.0001 beside the group's deviation")
    assert recipe.provenance["critic"] == RECIPES["grpo"].provenance["critic"]


@pytest.mark.parametrize("library", PRESETS)
@pytest.mark.parametrize("name", [name for name in RECIPES if type(RECIPES[name].objective).__name__ == "PolicyLoss"])
def test_every_recipe_of_a_policy_loss_takes_every_preset(name, library):
    changed = preset(name, library)
    assert changed.critic.group_based == RECIPES[name].critic.group_based or (name, library) == ("max_rl", "prime-rl")
    assert torch.isfinite(torch.tensor(changed.learner.policy.learning_rate))


def test_unknown_names_and_other_objectives_are_refused():
    with pytest.raises(ConfigError, match="nearest is 'trl'"):
        apply_preset(RECIPES["grpo"], "trll", PARTS)
    with pytest.raises(ConfigError, match="LogRatioRegression"):
        apply_preset(RECIPES["direct_advantage"], "trl", PARTS)
