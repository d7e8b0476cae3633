"""Credit by success counts, by sign, and of the best alone; the baselines by length and of the greedy answer."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.best_only import BestOnly
from critica.advantages.count_weighted import CountWeighted, PassAt, PowerWeights, WeightCurve
from critica.advantages.gae import Gae
from critica.advantages.outcome import Outcome
from critica.advantages.sign_weighted import AdaptiveSignWeighted, SignWeighted
from critica.advantages.standardized import Standardized
from critica.critics.counted import GroupMeanCritic, LeaveOneOutCritic, NoBaselineCritic
from critica.critics.greedy_answer import GreedyAnswerCritic
from critica.critics.length_weighted import LengthWeightedCritic
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import change_recipe
from critica.records.evidence import Continuations, Evidence

ROWS = ["css", "cs", "csss", "cs", "css", "cs", "cs", "cssss"]
GROUPS = [0, 0, 0, 0, 1, 1, 1, 1]
OUTCOMES = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]


def credit(rule, outcomes=OUTCOMES, critic=None, rows=ROWS, groups=GROUPS, evidence=None):
    batch = token_batch(rows, groups)
    told = told_batch(batch, outcomes)
    evidence = evidence or Evidence()
    values = (critic or NoBaselineCritic()).predict(batch, told, evidence)
    return batch, rule.estimate(batch, told, values, evidence)


def first(batch, result):
    return [result.advantage[row][batch.sampled_mask[row]][0].item() for row in range(batch.rows)]


def of(rule, *args, **how):
    return first(*credit(rule, *args, **how))


def test_powers_by_hand():
    weights = PowerWeights(1.0)
    assert of(CountWeighted(weights, "none")) == pytest.approx([2, 0, 0, 2, 0, 0, 0, 4])
    assert of(CountWeighted(weights, "one")) == pytest.approx([1, -1, -1, 1, -1, -1, -1, 3])
    # the others: a_(c+1) (R - c / 3) with c right ones among three others
    assert of(CountWeighted(weights, "others")) == pytest.approx(
        [2 * (1 - 1 / 3), -4 / 3 * 2 / 3, -4 / 3 * 2 / 3, 2 * (1 - 1 / 3), -2 / 3, -2 / 3, -2 / 3, 4.0]
    )
    assert of(CountWeighted(weights, "siblings")) == pytest.approx(
        [2 - 2 / 3, -4 / 3, -4 / 3, 2 - 2 / 3, -4 / 3, -4 / 3, -4 / 3, 4.0]
    )


def test_power_zero_against_the_others_is_rloo():
    _, ours = credit(CountWeighted(PowerWeights(0.0), "others"))
    _, rloo = credit(Outcome("none"), critic=LeaveOneOutCritic())
    torch.testing.assert_close(ours.advantage, rloo.advantage)
    assert torch.equal(ours.mask, rloo.mask) and torch.equal(ours.zero_variance, rloo.zero_variance)


def test_a_curve_of_one_coefficient_is_rl_and_pass_at_one_too():
    plain = of(CountWeighted(PowerWeights(0.0), "others"))
    assert of(CountWeighted(WeightCurve((1.0,)), "others")) == pytest.approx(plain)
    assert of(CountWeighted(PassAt(1), "others")) == pytest.approx(plain)
    assert of(CountWeighted(WeightCurve((2.0, 0.0)), "none")) == pytest.approx(of(CountWeighted(PassAt(2), "none")))


def test_pass_at_k_by_hand():
    # two of four right: the other try is one of three siblings, two of them wrong: 2 * 2 / 3; one of four: 2 * 3 / 3
    assert of(CountWeighted(PassAt(2), "none")) == pytest.approx([4 / 3, 0, 0, 4 / 3, 0, 0, 0, 2])


def test_released_maximum_likelihood_drops_prompts_that_all_fail():
    outcomes = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    released = Outcome("mean", epsilon=0.0)
    assert of(released, outcomes, GroupMeanCritic()) == pytest.approx([1, -1, -1, 1, 0, 0, 0, 0])
    assert of(CountWeighted(PowerWeights(1.0), "one"), outcomes) == pytest.approx([1, -1, -1, 1, -1, -1, -1, -1])
    with_floor = of(Outcome("mean", epsilon=0.5), outcomes, GroupMeanCritic())
    assert with_floor[:2] == pytest.approx([0.5, -0.5])
    assert not Outcome("mean").shift_free and not Outcome("mean").scale_free
    assert not Standardized(Outcome("mean")).scale_free and Standardized(Outcome("none")).scale_free


def test_groups_that_taught_nothing_are_counted_so():
    outcomes = [1.0] * 4 + [0.0] * 4
    _, plain = credit(CountWeighted(PowerWeights(1.0), "others"), outcomes)
    assert plain.zero_variance.tolist() == [True] * 8 and not plain.advantage.any()
    _, kept = credit(CountWeighted(PowerWeights(1.0), "one"), outcomes)
    assert kept.zero_variance.tolist() == [True] * 4 + [False] * 4  # a group that all fails is pushed down


def test_unknown_answers_leave_the_count_and_small_groups_are_silent():
    outcomes = [1.0, None, 0.0, 1.0, None, None, 0.0, 1.0]
    batch, result = credit(CountWeighted(PowerWeights(1.0), "others"), outcomes)
    assert not result.mask[[1, 4, 5]].any()
    assert first(batch, result)[0] == pytest.approx(1.5 * (1 - 1 / 2))  # three known, two of them right
    assert first(batch, result)[6:] == pytest.approx([-1.0 * 1, 2.0])  # two known: a_2 = 1, a_1 = 2
    batch, result = credit(CountWeighted(PassAt(3), "none"), outcomes)
    assert first(batch, result)[6:] == [0.0, 0.0] and result.zero_variance[6:].all()
    assert first(batch, result)[0] == pytest.approx(0.0)  # with three tries of three, two right ones are too many
    alone = credit(CountWeighted(PowerWeights(1.0), "others"), [1.0, None, None, None, 0.0, 1.0, 0.0, 0.0])[1]
    assert not alone.advantage[0].any() and alone.zero_variance[0]


def test_a_threshold_says_what_is_right():
    graded = [0.9, 0.2, 0.5, 0.1, 0.0, 0.0, 0.0, 0.4]
    assert of(CountWeighted(PowerWeights(0.0), "none", threshold=0.4), graded) == [1, 0, 1, 0, 0, 0, 0, 1]
    assert of(CountWeighted(PowerWeights(0.0), "none", threshold=0.6), graded) == [1, 0, 0, 0, 0, 0, 0, 0]


def test_a_second_baseline_is_refused():
    for rule in (CountWeighted(), BestOnly()):
        with pytest.raises(ValueError, match="critic=none"):
            credit(rule, critic=GroupMeanCritic())
    with pytest.raises(ConfigError, match="critic=none"):
        change_recipe(RECIPES["pkpo"], ["critic=group_mean"], PARTS)
    with pytest.raises(ConfigError, match="groups of 4 or more"):
        change_recipe(RECIPES["pkpo"], ["sampling.samples_per_prompt=3"], PARTS)
    with pytest.raises(ConfigError, match="groups of 2 or more"):
        change_recipe(RECIPES["rl2ml"], ["sampling.samples_per_prompt=1"], PARTS)
    assert change_recipe(RECIPES["max_rl"], ["sampling.samples_per_prompt=1"], PARTS)


@pytest.mark.parametrize("made", [lambda: PowerWeights(-0.1), lambda: PassAt(0), lambda: WeightCurve(())])
def test_weights_without_meaning_are_refused(made):
    with pytest.raises(ValueError):
        made()


def test_best_only_by_hand():
    graded = [0.9, 0.2, 0.5, 0.1, 0.0, 0.0, 0.0, 0.4]
    assert of(BestOnly(), graded) == pytest.approx([0.4, 0, 0, 0, 0, 0, 0, 0.4])
    assert of(BestOnly(), [1.0, 0, 0, 1.0, 0, 0, 0, 1.0]) == [0, 0, 0, 0, 0, 0, 0, 1]
    unknown = [None, 0.2, 0.5, 0.1, None, None, None, 0.4]
    assert of(BestOnly(), unknown) == pytest.approx([0, 0, 0.3, 0, 0, 0, 0, 0])


def test_blame_is_weighed_and_praise_is_not():
    inner = Outcome("group")
    plain = of(inner, critic=GroupMeanCritic())
    half = of(SignWeighted(inner, 0.5), critic=GroupMeanCritic())
    assert half == pytest.approx([x if x >= 0 else x / 2 for x in plain])
    assert min(plain) < 0 < max(plain)
    assert of(SignWeighted(inner, 0.0), critic=GroupMeanCritic()) == pytest.approx([max(x, 0) for x in plain])


def test_hpo_with_alpha_one_is_its_inner_rule_to_the_bit():
    _, plain = credit(Outcome("group"), critic=GroupMeanCritic())
    _, one = credit(SignWeighted(Outcome("group"), 1.0), critic=GroupMeanCritic())
    assert torch.equal(one.advantage, plain.advantage)


@pytest.mark.parametrize(
    ("outcomes", "least", "alpha"),
    [
        ([1.0, 0, 0, 0, 0, 0, 0, 0], 0.1, 1 / 7),
        ([1.0, 0, 0, 0, 0, 0, 0, 0], 0.3, 0.3),
        ([1.0, 1, 1, 1, 1, 1, 0, 0], 0.1, 1.0),
        ([1.0, 1, 1, 0, 0, 0, 0, 0], 0.0, 3 / 5),
    ],
)
def test_adaptive_alpha_is_the_share_of_praise_over_that_of_blame(outcomes, least, alpha):
    one = [0] * 8
    plain = of(Outcome("none"), outcomes, GroupMeanCritic(), groups=one)
    found = of(AdaptiveSignWeighted(Outcome("none"), least), outcomes, GroupMeanCritic(), groups=one)
    assert found == pytest.approx([x if x >= 0 else alpha * x for x in plain])


def test_adaptive_alpha_is_counted_over_the_whole_step_and_is_one_without_blame():
    # group 0: two praised and two blamed; group 1: one praised and three blamed: 3 / 5
    plain = of(Outcome("group"), critic=GroupMeanCritic())
    found = of(AdaptiveSignWeighted(Outcome("group"), 0.0), critic=GroupMeanCritic())
    assert found == pytest.approx([x if x >= 0 else 0.6 * x for x in plain])
    assert AdaptiveSignWeighted(Outcome("none")).factor(credit(Outcome("none"))[1]) == 1.0


def test_sign_rules_are_as_free_as_what_is_inside():
    for inner in (Outcome("group"), Outcome("none"), Outcome("mean")):
        for rule in (SignWeighted(inner), AdaptiveSignWeighted(inner)):
            assert (rule.scale_free, rule.shift_free) == (inner.scale_free, inner.shift_free)
            assert rule.divides_by_group_spread == inner.divides_by_group_spread
    with pytest.raises(ValueError, match="alpha"):
        SignWeighted(Outcome(), 1.1)
    with pytest.raises(ValueError, match="least"):
        AdaptiveSignWeighted(Outcome(), -0.1)
    with pytest.raises(ConfigError, match="a value at every token"):
        change_recipe(RECIPES["hpo"], ["advantage.inner=gae"], PARTS)


# Baselines


def test_the_mean_by_length_by_hand():
    found = of(Outcome("none"), critic=LengthWeightedCritic())
    one, two = (2 + 1) / 7, 4 / 8  # right tokens over all tokens of the group
    assert found == pytest.approx([1 - one, -one, -one, 1 - one, -two, -two, -two, 1 - two])


def test_equal_lengths_give_the_group_mean():
    rows = ["css"] * 8
    _, ours = credit(Outcome("none"), critic=LengthWeightedCritic(), rows=rows)
    _, mean = credit(Outcome("none"), critic=GroupMeanCritic(), rows=rows)
    torch.testing.assert_close(ours.advantage, mean.advantage)


def test_unknown_answers_have_no_length():
    found = of(Outcome("none"), [1.0, 0.0, None, None, 0.0, 0.0, 0.0, 1.0], LengthWeightedCritic())
    assert found[:4] == pytest.approx([1 - 2 / 3, -2 / 3, 0, 0])


@dataclass
class Greedy:
    said: dict

    def outcomes(self, states, count, greedy=False):
        assert greedy and count == 1
        assert all(offset == 0 for _, offset in states)
        return np.array([[self.said[GROUPS[row]]] for row, _ in states])


def test_remax_subtracts_what_the_greedy_answer_earned():
    evidence = Evidence(Continuations(Greedy({0: 1.0, 1: 0.25})))
    found = of(Outcome("none"), critic=GreedyAnswerCritic(), evidence=evidence)
    assert found == pytest.approx([0, -1, -1, 0, -0.25, -0.25, -0.25, 0.75])


def test_a_greedy_answer_that_could_not_be_scored_silences_its_prompt():
    evidence = Evidence(Continuations(Greedy({0: float("nan"), 1: 0.0})))
    batch, result = credit(Outcome("none"), critic=GreedyAnswerCritic(), evidence=evidence)
    assert not result.mask[:4].any() and result.mask[4:].equal(batch.sampled_mask[4:])
    assert not result.zero_variance.any()


# Returns of tokens


def test_reinforce_pp_pays_each_token_what_comes_after_it():
    """Costs of single tokens count for the tokens before them, not for those after; then the step is whitened."""
    batch = token_batch(["csss", "cs"], [0, 1])
    told = told_batch(batch, [1.0, 0.0])
    told.per_token[0, 2, 0] -= 0.5
    values = NoBaselineCritic().predict(batch, told, Evidence())
    plain = RECIPES["reinforce_pp"].advantage.inner.estimate(batch, told, values, Evidence())
    assert plain.advantage[batch.sampled_mask].tolist() == pytest.approx([0.5, 0.5, 1.0, 0.0])
    found = RECIPES["reinforce_pp"].advantage.estimate(batch, told, values, Evidence())
    flat = torch.tensor([0.5, 0.5, 1.0, 0.0])
    expected = (flat - flat.mean()) / (flat.std() + 1e-6)
    assert found.advantage[batch.sampled_mask].tolist() == pytest.approx(expected.tolist())
    assert Gae(1.0, 1.0) == RECIPES["reinforce_pp"].advantage.inner
