"""What critics learn where it is not the plain value: spreads, pessimism, prompts, defects; else see matrix/."""

from functools import partial

import numpy as np
import torch

from critica.advantages.laws import law_quantiles, law_spread
from critica.advantages.risk import MinusSpread
from critica.critics.bodies import SharedTrunk
from critica.critics.gaussian import GaussianCritic
from critica.critics.quantile import NO_TAIL, AsymmetricTail, QuantileCritic
from critica.critics.targets import GroupQuantiles, LambdaReturn, MonteCarlo
from critica.records.arrays import Samples, scatter_sampled
from critica.records.evidence import HiddenStates
from exact_tables import DIGITS, learned, table, taught

SHARED = SharedTrunk()
QUANTILES = partial(QuantileCritic, 2, 16, 32, huber=0.02, tail=NO_TAIL, body=SHARED)


def test_the_gaussian_spread_is_that_of_the_outcome_and_says_nothing_that_the_mean_does_not():
    made, values = taught(GaussianCritic(32, body=SHARED), MonteCarlo(), steps=500)
    truth = made.truth()
    spread = law_spread(values.law, values.mean)[:, 1:]
    assert float((spread - (truth * (1 - truth)).sqrt()).abs().max()) < 0.05  # the floor is .02


def test_one_step_pessimism_has_the_fixed_point_that_recursion_gives():
    """mu(s) = E_a[mu(sa) - b sd(sa)], sd(s) the spread of those targets; at the last token the outcome itself."""
    beta = 0.5
    part = GaussianCritic(32, dropout=0.0, balance=0.0, floor=1e-3, body=SHARED)
    made, values = taught(part, LambdaReturn(1.0, 0.0, MinusSpread(beta)), steps=800, rate=0.02)

    def solve(prefix):
        heirs = [(*prefix, token) for token in range(3)]
        if made.game.is_end(heirs[0]):
            seen = np.array([made.game.outcome(heir) for heir in heirs])
        else:
            seen = np.array([mean - beta * spread for mean, spread in map(solve, heirs)])
        return float(seen.mean()), float(seen.std())

    expected = torch.tensor([[solve(s[:t])[0] for t in range(3)] for s in made.sequences])
    found = learned(made, values)
    assert float((found - expected).abs().max()) < 0.01
    assert float(expected[0, 0]) < 0.07 < 0.25 < float(made.truth()[0, 0])


def test_group_quantiles_teach_the_prompt_and_not_the_prefix():
    """The named target is the prompt's law: every prefix is told the same, up to each row's own absence."""
    made, values = taught(QUANTILES(), GroupQuantiles(), steps=200, rate=0.02)
    assert float((learned(made, values) - made.truth()[0, 0]).abs().max()) < 0.05


def test_tail_terms_against_point_targets_pull_the_mean_off():
    """The released recipe copies the outcome to all K slots: kept here as the defect that the targets exist to mend."""
    broken = QUANTILES(mean=0.0, tail=AsymmetricTail(0.1, 0.1, 1.0, 1.0, 0.0, 0.0))
    plain = QUANTILES(mean=0.0)

    class Copied(MonteCarlo):
        def build(self, batch, told, values):
            one = MonteCarlo().build(batch, told, values)
            samples = one.values[..., None].expand(*one.values.shape, 16).contiguous()
            return Samples(samples, torch.full_like(samples, 1 / 16), one.mask)

    def tails(part):
        _, values = taught(part, Copied(), steps=400, rate=0.02)
        low = law_quantiles(values.law, values.mean, 16)[:, 1, :1].mean()
        high = law_quantiles(values.law, values.mean, 16)[:, 1, -1:].mean()
        return float(low), float(high)

    low, high = tails(plain)
    assert low < 0.05 and high > 0.95
    low, high = tails(broken)
    assert low > 0.05 and high < 0.8  # both tails on their way to the mean, .26


def test_states_are_read_in_the_order_of_the_grid():
    made = table(DIGITS)
    flat = scatter_sampled(made.evidence[HiddenStates].states.argmax(-1).float(), made.batch.sampled_mask)
    assert float(flat[:, 1].std()) == 0.0 and float(flat[:, 2].std()) > 0
