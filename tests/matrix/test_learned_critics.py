"""Every critic of the catalogue that learns converges to its named target, by dynamic programming, or says why not."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from critica.advantages.laws import law_quantiles
from critica.advantages.risk import WorstHead
from critica.critics.blend import Blend
from critica.critics.bodies import SharedTrunk
from critica.critics.bounded import BoundedCritic
from critica.critics.categorical import CategoricalCritic
from critica.critics.chunk import ChunkCritic
from critica.critics.counted import GroupMean, NoBaseline
from critica.critics.ensemble import Ensemble
from critica.critics.gaussian import GaussianCritic
from critica.critics.lagged import Lagged
from critica.critics.outcome_classes import OutcomeClasses
from critica.critics.quantile import NO_TAIL, AsymmetricTail, QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.success import SuccessCritic
from critica.critics.targets import CategoricalLambda, LambdaMixture, LambdaReturn, MonteCarlo, QuantileLambda
from critica.critics.taught_ends import TaughtEnds
from critica.critics.token_values import TokenValues
from critica.functional.quantiles import wasserstein1
from critica.functional.steps import Steps
from critica.recipes.catalogue import PARTS
from exact_tables import BRANCH, DIGITS, learned, taught
from matrix.test_counted_critics import COUNTED

SHARED = SharedTrunk()
QUANTILES = partial(QuantileCritic, 2, 16, 32, huber=0.02, tail=NO_TAIL, body=SHARED)


@dataclass(frozen=True)
class Case:
    """A critic of the catalogue, how it is taught, and the largest error that is left of the value of the prefix."""

    part: object
    target: object
    tolerance: float
    rate: float = 0.05


# The named target is V of the prefix, for every prefix of the game.
VALUES = {
    "scalar": Case(ScalarCritic(body=SHARED), MonteCarlo(), 0.01),
    "bounded": Case(BoundedCritic(body=SHARED), MonteCarlo(), 0.08, 0.2),  # its ends, 0 and 1, come like 1 / steps
    "coin": Case(CategoricalCritic(2, "two_hot", body=SHARED), MonteCarlo(), 0.02),
    "two_hot": Case(CategoricalCritic(11, "two_hot", body=SHARED), LambdaReturn(1.0, 0.8), 0.02),
    "hl_gauss": Case(CategoricalCritic(51, "hl_gauss", body=SHARED), LambdaReturn(1.0, 0.8), 0.02),
    "c51": Case(CategoricalCritic(11, "two_hot", body=SHARED), CategoricalLambda(1.0, 0.0), 0.03),
    "c51_mixture": Case(CategoricalCritic(11, "two_hot", body=SHARED), CategoricalLambda(1.0, 0.7), 0.03),
    "gaussian": Case(GaussianCritic(32, body=SHARED), MonteCarlo(), 0.03),
    "gaussian_mixture": Case(GaussianCritic(32, body=SHARED), LambdaMixture(1.0, 0.8, 32), 0.03),
    "quantile": Case(QUANTILES(), MonteCarlo(), 0.03, 0.02),
    "quantile_lambda": Case(QUANTILES(), QuantileLambda(1.0, 0.8), 0.03, 0.02),
    "mixture": Case(QUANTILES(), LambdaMixture(1.0, 0.8, 64), 0.03, 0.02),
    "dvpo": Case(QUANTILES(tail=AsymmetricTail()), LambdaMixture(1.0, 0.8, 64), 0.06),
    "robust_with_one_mind": Case(QUANTILES(), LambdaReturn(1.0, 0.5, WorstHead()), 0.03),
    "ensemble": Case(Ensemble(ScalarCritic(body=SHARED), 2, 1.0), LambdaReturn(1.0, 0.5), 0.01),
    "lagged": Case(Lagged(ScalarCritic(body=SHARED), 0.2), LambdaReturn(1.0, 0.5), 0.01),
    "blend_of_one": Case(Blend(0.0, NoBaseline(), ScalarCritic(body=SHARED)), MonteCarlo(), 0.01),
    "success": Case(SuccessCritic(Steps("tokens", 1), body=SHARED), MonteCarlo(), 0.02, 0.1),
    "mean_of_chunks": Case(ChunkCritic(Steps("tokens", 1), "expectile", 0.5, body=SHARED), MonteCarlo(), 0.02),
    "outcome_classes": Case(OutcomeClasses((0.0, 1.0), body=SHARED), MonteCarlo(), 0.02, 0.1),
    "token_values": Case(TokenValues(), MonteCarlo(), 0.03, 0.1),
    "taught_ends": Case(TaughtEnds(CategoricalCritic(2, "two_hot", body=SHARED)), MonteCarlo(), 0.02, 0.1),
}
TWICE = ("scalar", "bounded", "hl_gauss", "gaussian", "quantile_lambda")  # these on the two-branch game too

LAWS = {"coin": 0.02, "outcome_classes": 0.02, "c51": 0.06, "quantile": 0.15, "mixture": 0.15}

# Critics without a case here or in test_counted_critics.py, and where what they say is tested instead.
EXEMPT = {
    "none": ("expects nothing, by definition", "tests/recipes/test_flat_values.py"),
    "privileged": ("its target is V of the prefix and the answer", "tests/matrix/test_privileged_value.py"),
    "surprise": ("reads doubts, which need not tell states apart", "tests/critics/test_surprise.py"),
    "sentence_reward": ("log-odds that rank siblings: no value", "tests/critics/test_step_critics.py"),
    "preference_models": ("log-ratios of two models: ranks, no value", "tests/objectives/test_align_distil.py"),
    "stated_value": ("a language model states the value", "tests/training/test_stated_value.py"),
    "monte_carlo_rollouts": ("samples continuations of the policy", "tests/critics/test_monte_carlo.py"),
    "simulator": ("its target is the value of random play", "tests/critics/test_simulator.py"),
    "greedy_answer": ("says the outcome of another answer", "tests/critics/test_greedy_answer.py"),
    "length_weighted": ("leans to long answers, on purpose", "tests/advantages/test_group_rules.py"),
    "turn_mean": ("its target is the mean of one turn's verdicts", "tests/rollout/test_feedback.py"),
}  # fmt: skip


def test_every_critic_of_the_catalogue_has_a_case_or_says_why_not(root):
    cased = {type(case.part) for case in VALUES.values()}
    named = {name for name, kind in PARTS["critic"].items() if kind in cased} | set(COUNTED)
    assert named.isdisjoint(EXEMPT), "a critic with a case needs no excuse"
    missing = set(PARTS["critic"]) - named - set(EXEMPT)
    assert not missing, f"{sorted(missing)}: add a case to VALUES or COUNTED, or the reason to EXEMPT"
    assert set(EXEMPT) <= set(PARTS["critic"])
    for _, place in EXEMPT.values():
        assert (Path(root) / place).is_file(), place


@pytest.mark.parametrize(("name", "game"), [*((n, DIGITS) for n in VALUES), *((n, BRANCH) for n in TWICE)])
def test_the_mean_becomes_the_value_of_the_prefix(name, game):
    case = VALUES[name]
    made, values = taught(case.part, case.target, game, rate=case.rate)
    error = (learned(made, values) - made.truth()).abs()
    assert float(error.max()) < case.tolerance, f"{name}: largest error {float(error.max()):.3f}"


@pytest.mark.parametrize("name", LAWS)
def test_the_law_becomes_the_law_of_the_return(name):
    """Quantile heads are slow here: a step between 0 and 1 is far to travel for sixteen neighbors in order."""
    case = VALUES[name]
    made, values = taught(case.part, case.target, steps=500, rate=case.rate)
    distance = wasserstein1(law_quantiles(values.law, values.mean, 64)[:, 1:], made.laws(64))
    assert float(distance.max()) < LAWS[name]
    blind = wasserstein1(made.truth()[..., None].expand(-1, -1, 64).contiguous(), made.laws(64))
    assert float(blind.max()) > 0.3  # a point at the true mean is no law


@pytest.mark.parametrize("weight", [0.25, 0.75])
def test_a_blend_of_a_group_and_a_head_becomes_their_mixture(weight):
    """The named target is weight V(prompt) + (1 - weight) V(prefix)."""
    made, values = taught(Blend(weight, GroupMean(), ScalarCritic(body=SHARED)), MonteCarlo())
    truth = made.truth()
    wanted = weight * truth[:, :1] + (1 - weight) * truth
    assert float((learned(made, values) - wanted).abs().max()) < 0.02
