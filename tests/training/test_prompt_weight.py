"""Every group estimator's effective prompt weight, through its own parts: closed forms, and every group of a game."""

import pytest

from critica.cli.estimator_page import page, subjects
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import change_recipe
from critica.training.estimator_claims import claim_of
from critica.training.group_estimator import GroupEstimator, NotEnumerable
from critica.training.prompt_weight import Game, by_counts, by_groups, orders

SUBJECTS = dict(subjects())
SMALL = Game((0.5, 0.2, 0.3), (0.0, 1.0, 0.0))
SIX = Game((0.3, 0.1, 0.2, 0.15, 0.05, 0.2), (1.0, 1.0, 0.0, 1.0, 0.0, 0.0))
RATES = (0.02, 0.1, 0.3, 0.6, 0.95)
UNBIASED = ("reinforce", "rloo", "remax", "policy_cliff", "rl2ml, power 0")


def rate(game):
    return sum(chance * outcome for chance, outcome in zip(game.chances, game.outcomes, strict=True))


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_group_of_a_small_game_gives_the_weight_of_the_counts(name):
    """The plain product over actions is the oracle; where there is a claim, it holds to 1e-10."""
    estimator, size = GroupEstimator(SUBJECTS[name]), 4
    if estimator.couples_prompts(size):
        pytest.skip("depends on the step's other prompts")
    found, p = by_groups(estimator, SMALL, size), rate(SMALL)
    assert found.astray < 1e-12
    by_count = by_counts(estimator, size, (p,)).weights[0]
    assert by_count.weight == pytest.approx(found.weight, abs=1e-12)
    claim = claim_of(SUBJECTS[name])
    if claim is not None:
        assert found.weight == pytest.approx(claim.weight(p, size), abs=1e-10)
    if name in UNBIASED:
        assert found.weight == pytest.approx(1.0, abs=1e-10)


def test_groups_in_one_step_do_not_feel_each_other():
    """What is walked all at once above is what each group gives alone."""
    for name in ("grpo", "rl2ml", "best_only", "opo", "tempo"):
        estimator = GroupEstimator(SUBJECTS[name])
        groups = [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
        for group, together in zip(groups, estimator.pulls(groups), strict=True):
            assert together == pytest.approx(estimator.pulls([group])[0], abs=1e-12)


@pytest.mark.parametrize("size", [4, 6, 8])
def test_claims_hold_at_every_rate_and_size(size):
    claimed = 0
    kept = {}
    for name, recipe in SUBJECTS.items():
        claim, estimator = claim_of(recipe), GroupEstimator(recipe)
        if claim is None:
            continue
        claimed += 1
        if estimator.key not in kept:
            kept[estimator.key] = by_counts(estimator, size, RATES)
        assert not kept[estimator.key].couples, name
        for one in kept[estimator.key].weights:
            assert one.weight == pytest.approx(claim.weight(one.p, size), abs=1e-10), (name, one.p)
    assert claimed > 25


@pytest.mark.parametrize("name", ["grpo", "hpo", "max_rl", "pkpo", "rl2ml", "opo"])
def test_six_actions_do_not_change_what_counts(name):
    estimator = GroupEstimator(SUBJECTS[name])
    found = by_groups(estimator, SIX, 4, exchangeable=True)
    assert found.astray < 1e-12
    assert found.weight == pytest.approx(by_counts(estimator, 4, (rate(SIX),)).weights[0].weight, abs=1e-12)


def test_numbers_of_the_note():
    def weights(name, *settings):
        recipe = change_recipe(RECIPES[name], settings, PARTS)
        return [round(one.weight, 2) for one in by_counts(GroupEstimator(recipe), 8, RATES).weights]

    assert weights("grpo") == [2.41, 2.18, 1.84, 1.76, 2.31]
    assert weights("max_rl") == [7.46, 5.70, 3.14, 1.67, 1.05]
    assert weights("rl2ml") == [2.72, 2.34, 1.72, 1.28, 1.03]
    hpo = {alpha: weights("hpo", f"advantage.alpha={alpha}") for alpha in (1, 0.6, 0)}
    assert [[row[i] for i in (0, 2, 4)] for row in hpo.values()] == [
        [2.41, 1.84, 2.31], [2.39, 1.62, 1.43], [2.36, 1.29, 0.12]
    ]  # fmt: skip


def test_the_deviation_by_hand():
    """One answer of REINFORCE, right with p: the estimate is 1 - p with probability p, else 0."""
    recipe = change_recipe(RECIPES["reinforce"], ["sampling.samples_per_prompt=1"], PARTS)
    estimator = GroupEstimator(recipe)
    one = by_counts(estimator, 1, (0.2,)).weights[0]
    assert (one.weight, one.deviation) == (pytest.approx(1.0), pytest.approx((0.8 / 0.2) ** 0.5))
    game = Game((0.2, 0.8), (1.0, 0.0))
    assert by_groups(estimator, game, 1).deviation == pytest.approx(2.0)
    for name in ("grpo", "rloo", "max_rl"):
        estimator = GroupEstimator(RECIPES[name])
        found = by_groups(estimator, game, 4)
        assert by_counts(estimator, 4, (0.2,)).weights[0].deviation == pytest.approx(found.deviation)


def test_a_baseline_saves_noise_where_prompts_are_mostly_solved():
    at = {name: by_counts(GroupEstimator(RECIPES[name]), 8, (0.6,)).weights[0].deviation
          for name in ("reinforce", "rloo", "remax")}  # fmt: skip
    assert at["rloo"] < at["reinforce"] < at["remax"]


def test_what_looks_at_the_whole_step_says_so():
    whole = {"answer_posterior", "reinforce_pp", "reinforce_pp_baseline", "a_hpo", "gdpo"}
    alone = {"reinforce", "rloo", "grpo", "dr_grpo", "hpo", "max_rl", "pkpo", "rl2ml", "remax", "best_only"}
    for size in (3, 4):
        found = {name for name in whole | alone if GroupEstimator(SUBJECTS[name]).couples_prompts(size)}
        assert found == whole


def test_unlike_lengths_bias_a_mean_over_each_answers_tokens_and_no_sum():
    ragged = Game((0.2, 0.3, 0.5), (1.0, 1.0, 0.0), (1, 5, 2))
    found = {name: by_groups(GroupEstimator(RECIPES[name]), ragged, 3) for name in ("rloo", "dr_grpo", "gspo", "opo")}
    assert found["rloo"].astray < 1e-12 and found["rloo"].weight == pytest.approx(1.0, abs=1e-12)
    assert found["dr_grpo"].astray < 1e-12 and found["dr_grpo"].weight == pytest.approx(2 / 3, abs=1e-12)
    assert found["gspo"].astray > 0.05 and found["opo"].astray > 0.05


@pytest.mark.parametrize("name", ["grpo", "opo", "max_rl", "a_hpo"])
def test_walking_each_multiset_once_is_walking_every_group(name):
    ragged = Game((0.2, 0.3, 0.5), (1.0, 1.0, 0.0), (1, 3, 2))
    estimator = GroupEstimator(RECIPES[name])
    whole, short = (by_groups(estimator, ragged, 3, exchangeable) for exchangeable in (False, True))
    assert whole.weight == pytest.approx(short.weight, abs=1e-12)
    assert whole.astray == pytest.approx(short.astray, abs=1e-12)
    assert whole.deviation == pytest.approx(short.deviation, abs=1e-9)
    assert [orders(chosen) for chosen in ([0, 0, 0], [0, 1, 0], [2, 1, 0])] == [1, 3, 6]


@pytest.mark.parametrize("name", ["ppo", "vine_ppo", "direct_advantage", "multi_attempt", "corver", "es_awd"])
def test_credit_that_knows_more_than_outcomes_is_refused(name):
    with pytest.raises(NotEnumerable, match=name):
        GroupEstimator(RECIPES[name])


def test_the_page_is_fresh(root):
    assert (root / "docs" / "estimators.md").read_text() == page(), "run `make pages`"
