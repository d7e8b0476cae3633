"""A recipe with a correction: when it can change nothing, what does not go together, and the ranges that follow."""

from dataclasses import replace

import pytest
import torch

from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.critics.base import CriticContext
from critica.critics.counted import GroupMean, LeaveOneOut, NoBaseline
from critica.functional.correction import NoSignal
from critica.objectives.positive_example import PositiveExamples
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import change_recipe
from critica.records.arrays import ValuePrediction
from critica.records.evidence import Evidence
from critica.records.supervision import Scale
from critica.rewards.audited_corrections import Appeal, AuditedValue
from critica.rewards.base import RewardConfig
from critica.rewards.correction_base import Uncorrected
from critica.rewards.correction_specs import parse_correction
from critica.rewards.corrections import Backward, Forward
from critica.rewards.each_objective import EachObjective
from critica.rewards.posterior import LivePosterior, Posterior
from critica.rewards.rates import Audited, CorrectionProblem, Stated
from critica.rewards.value_corrections import Repair, Soften, Winsorize
from critica.rollout.admission import Informative
from critica.rollout.combine import NormalizeThenSum, Sum
from critica.rollout.denoise import Denoise
from critica.rollout.early_stop import EarlyStop
from critica.rollout.place import Placement, SoftOverlong, place
from critica.rollout.tokenize import tokenize
from critica.rollout.until_certain import UntilCertain
from fakes import BigramPolicy
from rewards.said_by_hand import UNIT, Gold, context, said_of

ROWS = {"a": [1.0, 0.0, 0.0, 1.0, 0.0], "b": [1.0, 1.0, 1.0, 0.0, None], "c": [0.0] * 5, "d": [0.0, 1.0, 0.0, 0.0, 0.0]}
GOLD = Gold({f"{key}.{i}": float((i + ord(key)) % 2) for key in ROWS for i in range(5)})
CORRECTIONS = {
    "backward": Backward(Stated(0.2, 0.3)),
    "forward": Forward(Stated(0.1, 0.3)),
    "soften": Soften(0.3),
    "posterior": Posterior(0.1, 0.2, estimate=()),
    "exchanged": Posterior(0.05, 0.05, 0.2, estimate=()),
    "appeal": Appeal(gold=GOLD),
    "audited_value": AuditedValue(0.5, GOLD),
    "none": Uncorrected(),
}
RECIPES_OF = {
    "grpo": (GroupMean(), Outcome("group")),
    "dr_grpo": (GroupMean(), Outcome("none")),
    "rloo": (LeaveOneOut(), Outcome("none")),
    "rloo over the batch": (LeaveOneOut(), Outcome("batch")),
    "standardized": (GroupMean(), Standardized(Outcome("none"))),
    "rescaled": (LeaveOneOut(), Standardized(Outcome("none"), center=False)),
    "reinforce": (NoBaseline(), Outcome("none")),
    "ppo": (None, Outcome("none")),
}


def credit_of(recipe, critic, rewards, groups):
    """The advantages that this recipe makes of these rewards; a learned critic has learned to expect .4."""
    batch = tokenize(tuple(groups))
    told = place(tuple(rewards), batch, Evidence(), recipe.placement, UNIT)
    if critic is None:
        mean = torch.where(batch.sampled_mask, 0.4, 0.0)
        values = ValuePrediction(mean, batch.sampled_mask, mean[:, 0] * 0)
    else:
        values = critic.build(CriticContext(BigramPolicy(), 0, 0.0, 1.0)).predict(batch, told, Evidence())
    return recipe.advantage.estimate(batch, told, values, Evidence()).advantage


@pytest.mark.parametrize("combination", [Sum(), Sum((2.0,)), NormalizeThenSum()], ids=str)
@pytest.mark.parametrize("recipe_name", RECIPES_OF)
def test_the_warning_comes_where_the_credit_is_the_same_and_only_there(recipe_name, combination):
    """The credit is really estimated, of raw and of corrected rewards, in groups that differ in success."""
    critic, advantage = RECIPES_OF[recipe_name]
    base = RECIPES["ppo"] if critic is None else replace(RECIPES["grpo"], critic=critic, advantage=advantage)
    for name, correction in CORRECTIONS.items():
        recipe = replace(base, correction=correction, advantage=advantage,
                         placement=Placement(combination=combination))  # fmt: skip
        said = said_of(ROWS)
        live = correction.build(context())
        if isinstance(live, LivePosterior):  # the policy is known to be right nine times of ten: d was exchanged
            live.kinds, live.fit = ["one"], replace(live.fit, priors=((9.0, 1.0),))
        made = live.correct(said)
        raw = credit_of(recipe, critic, said.rewards, said.groups)
        corrected = credit_of(recipe, critic, made, said.groups)
        unchanged = float((raw - corrected).abs().max()) < 1e-4
        assert bool(recipe.idle_corrections()) == (unchanged and name != "none"), (name, unchanged)


def test_whatever_looks_at_values_takes_the_warning_back():
    grpo = replace(RECIPES["grpo"], correction=Backward())
    assert "divided by their spread" in grpo.idle_corrections()[0]
    objective = replace(grpo.objective, penalties=(PositiveExamples(),))
    for changes in (
        {"placement": Placement(reference_kl=0.1)},
        {"placement": Placement(overlong=SoftOverlong(8, 4))},
        {"objective": objective},
        {"correction": Backward(Audited())},
        {"correction": EachObjective((Backward(), Uncorrected()))},
    ):
        assert replace(grpo, **changes).idle_corrections() == (), changes
    each = EachObjective((Backward(), Soften()))
    apart = replace(grpo, correction=each, placement=Placement(combination=NormalizeThenSum()))
    assert apart.idle_corrections(2)
    assert replace(apart, admission=Informative()).idle_corrections(2) == ()  # a sum may vary in one and not the other
    alone = replace(grpo, correction=Posterior(0.1, 0.2, estimate=()))
    assert alone.idle_corrections() and alone.idle_corrections(2) == ()
    assert replace(alone, correction=Posterior(0.1, 0.2)).idle_corrections() == ()


class Compares(RewardConfig):
    """Settings of a source that compares siblings."""

    scope = "group"

    def build(self, environment, limits=None):
        raise AssertionError


@pytest.mark.parametrize("changes", [{"correction": Posterior()}, {"correction": Winsorize()}, {"reward": Compares()}])
def test_what_compares_siblings_does_not_go_with_waves(changes):
    waves = RECIPES["v0_5_budget"]
    assert isinstance(waves.budget, UntilCertain)
    with pytest.raises(ValueError, match="set budget=uniform"):
        replace(waves, **changes)
    replace(waves, correction=Repair())
    replace(RECIPES["grpo"], **changes)


@pytest.mark.parametrize(
    "placement",
    [
        Placement(combination=NormalizeThenSum()),
        Placement(combination=Sum((0.5, 1.0))),
        Placement(denoise=Denoise(0.3)),
        Placement(overlong=SoftOverlong(limit_tokens=20)),
    ],
)
def test_a_budget_holds_outcomes_against_forecasts_of_the_same_thing_only(placement):
    """The critic learns what is told; where that is not what was said, the first outcomes cannot contradict it."""
    with pytest.raises(ValueError, match="UntilCertain compares what is said"):
        replace(RECIPES["v0_5_budget"], placement=placement)
    replace(RECIPES["v0_budget"], placement=placement)  # it looks at forecasts alone
    replace(RECIPES["v0_5_budget"], placement=Placement(combination=Sum((1.0, 1.0))))


def test_denoising_by_a_critic_that_knows_siblings_alone_is_refused_before_anything_is_built():
    denoise = Placement(denoise=Denoise(0.3))
    for name in ("grpo", "rloo", "tempo"):
        with pytest.raises(ValueError, match="compares samples of one prompt"):
            replace(RECIPES[name], placement=denoise)
    for name in ("ppo", "dvpo"):
        replace(RECIPES[name], placement=denoise)


def test_ranges_follow_noise_correction_and_combination():
    """[0, 1] under J = .5 is [-.4, 1.6]; weight 2 doubles it; two such are their sum."""
    one, two = Scale("a", 0.0, 1.0), Scale("b", 0.0, 1.0)
    recipe = replace(RECIPES["grpo"], correction=Backward(Stated(0.2, 0.3)))
    assert recipe.told_range((one,)) == pytest.approx((-0.4, 1.6))
    doubled = replace(recipe, placement=Placement(combination=Sum((2.0, 1.0))))
    assert doubled.told_range((one, two)) == pytest.approx((-1.2, 4.8))
    assert doubled.summed_range((one, two)) == pytest.approx((-0.8, 3.2))  # what admission and budgets see
    each = replace(recipe, correction=EachObjective((Uncorrected(), Backward(Stated(0.2, 0.3)))))
    told = each.told_scales((one, two))
    assert [(scale.low, scale.high) for scale in told] == [(0.0, 1.0), pytest.approx((-0.4, 1.6))]
    with pytest.raises(CorrectionProblem, match="more objectives"):
        each.told_scales((one, two, Scale("c", 0.0, 1.0)))


def test_ranges_hold_answers_that_were_cut_and_groups_that_a_budget_made_large():
    """A cut answer earns its failure once: 0 on the other objectives. One of 16 is 15 / 4 deviations off, not of 8."""
    cut = replace(RECIPES["espo"], control=EarlyStop(failure=-1.0))
    told = cut.told_scales((Scale("a", 0.0, 1.0), Scale("b", 2.0, 3.0)))
    assert [(scale.low, scale.high) for scale in told] == [(-1.0, 1.0), (0.0, 3.0)]
    uneven = replace(RECIPES["v0_budget"].budget, most=16)
    waves = replace(RECIPES["v0_budget"], budget=uneven, placement=Placement(combination=NormalizeThenSum()))
    assert waves.sampling.samples_per_prompt < waves.budget.bounds(waves.sampling.samples_per_prompt)[1] == 16
    assert waves.told_range((Scale("a", 0.0, 1.0),))[1] == pytest.approx(15 / 4, abs=1e-4)


def test_specs_mean_what_the_help_says():
    assert parse_correction("none") == Uncorrected()
    assert parse_correction("posterior") == Posterior()
    assert parse_correction("posterior:0.2:group") == Posterior(exchanged_groups=0.2, estimate=())
    assert parse_correction("posterior:0.2:sample") == Posterior(0.2, 0.2, estimate=())
    assert parse_correction("posterior:0.3/0.1:sample") == Posterior(0.3, 0.1, estimate=())
    assert parse_correction("backward:0.2/0.1") == Backward(Stated(0.2, 0.1))
    assert parse_correction("backward:0.2") == Backward(Stated(0.2, 0.2))
    assert parse_correction("backward:audit:0.05") == Backward(Audited(0.05))
    assert parse_correction("forward:0.1") == Forward(Stated(0.0, 0.1))
    assert parse_correction("audit:0.2") == AuditedValue(0.2)
    assert parse_correction("appeal:0.5") == Appeal(0.5)
    assert parse_correction("soften:0.1") == Soften(0.1)
    for spec in ("", "backwards", "none:1", "posterior:0.2", "posterior:x:group", "backward:0.1/0.1/0.1", "audit:2"):
        with pytest.raises(CorrectionProblem, match="Write none; "):
            parse_correction(spec)
    with pytest.raises(NoSignal):
        parse_correction("backward:0.5/0.5")


def test_a_setting_reaches_the_part():
    settings = ["correction=backward:audit:0.1", "correction.rates.kept=0.9"]
    assert change_recipe(RECIPES["grpo"], settings, PARTS).correction == Backward(Audited(0.1, kept=0.9))
    with pytest.raises(ConfigError, match=r"at one half verdicts say nothing"):
        change_recipe(RECIPES["grpo"], ["correction=posterior", "correction.exchanged_groups=0.5"], PARTS)
