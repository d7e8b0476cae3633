"""Attitudes to risk in credit: nothing changes at the mean, and a gamble counts for less than the same in the hand."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.gae import Gae, LengthAdaptive, QuantileGae
from critica.advantages.laws import head_means, law_quantiles, law_spread
from critica.advantages.risk import Cumulative, Cvar, Mean, MinusSpread, Power, Wang, WorstHead
from critica.advantages.standardized import Standardized
from critica.critics.categorical import CategoricalCritic
from critica.critics.counted import GroupMean
from critica.critics.ensemble import Ensemble
from critica.critics.gaussian import GaussianCritic
from critica.critics.quantile import QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.functional.gae import quantile_gae
from critica.functional.quantiles import midpoint_levels
from critica.functional.risk import distorted_quantiles
from critica.records.arrays import Bernoulli, Categorical, Gaussian, Point, Quantiles, ValuePrediction
from critica.records.evidence import Evidence

NO = Evidence()
ROWS = ["cssscs", "csss", "ccss"]
RISKS = [Cvar(0.3), Wang(-0.5), Power(-1.0), Cumulative(0.6), MinusSpread(0.4)]


def case(heads=2, count=8, seed=0):
    """A batch with context in between, unknown rows, and a quantile critic's prediction."""
    batch = token_batch(ROWS, [0, 0, 1])
    told = told_batch(batch, [1.0, None, 0.25])
    drawn = torch.rand(3, 6, heads, count, generator=torch.Generator().manual_seed(seed)).sort(-1).values
    values = drawn * batch.sampled_mask[:, :, None, None]
    ends = torch.rand(3, 1, heads, count).sort(-1).values
    levels = midpoint_levels(count)
    law, after = Quantiles(levels, values), Quantiles(levels, ends)
    return batch, told, ValuePrediction(values.mean((2, 3)), batch.sampled_mask, ends.mean((1, 2, 3)), law, after)


@pytest.mark.parametrize("risk", [Mean(), Cvar(1.0), Wang(0.0), Power(0.0), Cumulative(1.0), MinusSpread(0.0)])
@pytest.mark.parametrize("decay", [0.7, LengthAdaptive(0.5)])
def test_neutral_settings_give_plain_credit(risk, decay):
    batch, told, values = case()
    plain = Gae(1.0, decay).estimate(batch, told, values, NO)
    for rule in (Gae(1.0, decay, risk), QuantileGae(1.0, decay, risk)):
        torch.testing.assert_close(rule.estimate(batch, told, values, NO).advantage, plain.advantage)


def test_weighting_the_quantile_advantages_is_credit_on_the_weighted_quantiles():
    """sum_k w_k A[k] = Gae on sum_k w_k Q[k]: the recursion is linear and the weights sum to one."""
    batch, told, values = case()
    risk, mask = Cvar(0.4), batch.sampled_mask & told.all_known[:, None]
    by_index = quantile_gae(
        told.paid, values.law.values.mean(2), torch.zeros(3, 8), batch.node_index, mask, 0.9, 0.8
    )
    expected = distorted_quantiles(values.law.levels, by_index, risk.distortion).where(mask, 0.0)
    given = QuantileGae(0.9, 0.8, risk).estimate(batch, told, values, NO)
    torch.testing.assert_close(given.advantage, expected)
    assert given.rule == "quantile_gae"
    assert float((given.advantage - Gae(0.9, 0.8).estimate(batch, told, values, NO).advantage).abs().max()) > 0.05


def lottery_and_certainty(make):
    """Two answers: after its first token one is worth 1/2 for certain, the other 0 or 1 at even odds."""
    batch = token_batch(["css", "css"], [0, 0])
    told = told_batch(batch, [0.5, 1.0])
    return batch, told, make(batch)


def quantile_law(batch):
    law = torch.zeros(2, 3, 1, 4)
    law[:, 1, 0] = torch.tensor([0.0, 0.5, 0.5, 1.0])
    law[0, 2, 0], law[1, 2, 0] = 0.5, torch.tensor([0.0, 0.0, 1.0, 1.0])
    levels = midpoint_levels(4)
    return ValuePrediction(law.mean((2, 3)), batch.sampled_mask, torch.zeros(2), Quantiles(levels, law))


def categorical_law(batch):
    law = torch.zeros(2, 3, 1, 3)
    law[:, 1, 0] = torch.tensor([0.25, 0.5, 0.25])
    law[0, 2, 0, 1], law[1, 2, 0] = 1.0, torch.tensor([0.5, 0.0, 0.5])
    atoms = torch.tensor([0.0, 0.5, 1.0])
    return ValuePrediction((law @ atoms)[..., 0], batch.sampled_mask, torch.zeros(2), Categorical(atoms, law))


def gaussian_law(batch):
    spread = torch.tensor([[0.0, 0.3, 0.0], [0.0, 0.3, 0.5]])
    return ValuePrediction(batch.sampled_mask * 0.5, batch.sampled_mask, torch.zeros(2), Gaussian(spread))


@pytest.mark.parametrize("make", [quantile_law, categorical_law, gaussian_law])
def test_the_first_token_of_the_certain_branch_is_preferred(make):
    batch, told, values = lottery_and_certainty(make)
    plain = Gae(1.0, 0.0).estimate(batch, told, values, NO).advantage[:, 1]
    torch.testing.assert_close(plain, torch.zeros(2))
    for risk in (Cvar(0.5), Wang(-1.0), Power(-1.0), MinusSpread(0.5)):
        certain, gamble = Gae(1.0, 0.0, risk).estimate(batch, told, values, NO).advantage[:, 1].tolist()
        assert certain > gamble + 0.1, risk
    certain, gamble = Gae(1.0, 0.0, Wang(1.0)).estimate(batch, told, values, NO).advantage[:, 1].tolist()
    assert gamble > certain + 0.1


def test_cvar_by_hand_on_the_two_branches():
    """CVaR(.5): before the token (0, .5) -> .25; after it .5 against 0. So +.25 and -.25."""
    batch, told, values = lottery_and_certainty(quantile_law)
    given = Gae(1.0, 0.0, Cvar(0.5)).estimate(batch, told, values, NO).advantage
    torch.testing.assert_close(given[:, 1], torch.tensor([0.25, -0.25]))
    torch.testing.assert_close(given[:, 2], torch.tensor([0.0, 1.0]))  # what was told less what was left to expect


def test_one_law_in_three_dresses():
    """A coin of .3 as Bernoulli, as two atoms, as quantiles in tenths: read alike."""
    mean = torch.full((1, 1), 0.3)
    dressed = (
        Bernoulli(),
        Categorical(torch.tensor([0.0, 1.0]), torch.tensor([0.7, 0.3]).view(1, 1, 1, 2)),
        Quantiles(midpoint_levels(10), (torch.arange(10) >= 7).float().view(1, 1, 1, 10)),
    )
    for risk in RISKS:
        read = [float(risk.read(law, mean)) for law in dressed]
        assert read[0] == pytest.approx(read[1], abs=1e-5) == pytest.approx(read[2], abs=1e-5), risk
        assert float(risk.read(Point(), mean)) == pytest.approx(0.3)
    for law in dressed:
        torch.testing.assert_close(law_quantiles(law, mean, 10)[0, 0], (torch.arange(10) >= 7).float())
        assert float(law_spread(law, mean)) == pytest.approx(0.21**0.5, abs=1e-6)


def test_a_gaussian_is_read_in_order_and_a_point_is_flat():
    """Midpoint levels .125, .375, .625, .875 of N(.5, 2)."""
    mean, spread = torch.full((1, 1), 0.5), torch.full((1, 1), 2.0)
    read = law_quantiles(Gaussian(spread), mean, 4)[0, 0].tolist()
    assert read == pytest.approx([0.5 - 2 * 1.15035, 0.5 - 2 * 0.31864, 0.5 + 2 * 0.31864, 0.5 + 2 * 1.15035], abs=1e-4)
    assert law_quantiles(Point(), mean, 3).tolist() == [[[0.5, 0.5, 0.5]]]
    curve = Quantiles(torch.tensor([0.25, 0.75]), torch.tensor([[[[0.0, 1.0], [1.0, 2.0]]]]))
    torch.testing.assert_close(law_quantiles(curve, mean, 3)[0, 0], torch.tensor([0.5, 1.0, 1.5]))


def test_the_worst_head_is_one_head():
    _, _, values = case(heads=3)
    read = WorstHead().read(values.law, values.mean)
    torch.testing.assert_close(read, values.law.values.mean(-1).amin(-1))
    assert bool((read <= values.mean + 1e-6).all()) and float((values.mean - read).max()) > 0.05
    single = Quantiles(values.law.levels, values.law.values[:, :, :1])
    torch.testing.assert_close(WorstHead().read(single, values.mean), single.values.mean((2, 3)))
    atoms, probs = torch.tensor([0.0, 2.0]), torch.tensor([[0.5, 0.5], [0.75, 0.25]]).view(1, 1, 2, 2)
    assert head_means(Categorical(atoms, probs), torch.ones(1, 1)).flatten().tolist() == [1.0, 0.5]
    assert float(WorstHead().read(Point(), torch.full((1, 1), 0.3))) == pytest.approx(0.3)


def test_where_the_critic_is_silent_there_is_no_credit():
    batch, told, values = case()
    quiet = replace(values, mask=values.mask & (torch.arange(6) != 2), mean=values.mean)
    given = Gae(1.0, 0.5, Cvar(0.5)).estimate(batch, told, quiet, NO)
    assert bool((given.advantage[:, 2] == 0).all()) and not bool(given.mask[1].any())


def test_refusals_say_what_to_do():
    Gae(1.0, 0.95, Cvar(0.2)).check(QuantileCritic())
    Gae(1.0, LengthAdaptive(), Cvar(0.2)).check(GaussianCritic())
    Gae(1.0, 0.9, WorstHead()).check(Ensemble(ScalarCritic()))
    with pytest.raises(ValueError, match="predicts a mean alone; set critic=quantile"):
        Gae(1.0, 0.95, Cvar(0.2)).check(ScalarCritic())
    with pytest.raises(ValueError, match=r"at decay 1 nothing is bootstrapped; set advantage\.decay=0\.95"):
        Standardized(Gae(1.0, 1.0, Cvar(0.2))).check(QuantileCritic())
    with pytest.raises(ValueError, match="set advantage=outcome"):
        Gae(1.0, 0.9).check(GroupMean())
    for critic in (CategoricalCritic(), GaussianCritic(), ScalarCritic()):
        with pytest.raises(ValueError, match="needs a critic that predicts quantiles"):
            QuantileGae().check(critic)
    for wrong in (lambda: Cvar(0.0), lambda: Cvar(1.5), lambda: Cumulative(0.1)):
        with pytest.raises(ValueError, match=r"must lie in|share of worst"):
            wrong()
