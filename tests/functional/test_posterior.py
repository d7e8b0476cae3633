"""The posterior over siblings against a sum over every truth, channel and exchange; and rates found in counts alone."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from critica.functional.posterior import EDGE, Channel, Fit, count_law, expected_truth, fit_channel, joint_law

CHANNELS = [
    Channel(0.2, 0.3, 0.0), Channel(0.0, 0.0, 0.2), Channel(0.1, 0.4, 0.15), Channel(0.05, 0.02, 0.45),
    Channel(0.4, 0.1, 0.3),
]  # fmt: skip
PRIORS = [(1.0, 1.0), (0.3, 2.5), (6.0, 0.7)]


def rising(x, n):
    return math.prod(x + i for i in range(n))


def truth_law(z, a, b):
    """P(z_1..z_G) of exchangeable answers: theta integrated out, as Polya's urn does it (no lgamma)."""
    right = sum(z)
    return rising(a, right) * rising(b, len(z) - right) / rising(a + b, len(z))


def enumerated(told, a, b, channel):
    """(P(told), P(z_i = 1 | told) of each sibling, P(f = 1 | told)) by summing over all z and f, u following."""
    size, rates = len(told), (channel.rho0, channel.rho1, channel.swapped)
    rho0, rho1, swapped = (min(max(rate, EDGE), 1 - EDGE) for rate in rates)
    mass, right, turned = 0.0, [0.0] * size, 0.0
    for z in itertools.product((0, 1), repeat=size):
        for f in (0, 1):
            chance = truth_law(z, a, b) * (swapped if f else 1 - swapped)
            for said, true in zip(told, z, strict=True):
                u = said ^ f
                high = 1 - rho1 if true else rho0
                chance *= high if u else 1 - high
            mass += chance
            turned += chance * f
            right = [old + chance * true for old, true in zip(right, z, strict=True)]
    return mass, [one / mass for one in right], turned / mass


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(("a", "b"), PRIORS)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_verdict_pattern_agrees_with_enumeration(size, a, b, channel):
    if_high, if_low, exchanged = expected_truth(size, a, b, channel)
    total = 0.0
    for told in itertools.product((0, 1), repeat=size):
        k = sum(told)
        mass, right, turned = enumerated(told, a, b, channel)
        total += mass
        for said, expected in zip(told, right, strict=True):
            assert float((if_high if said else if_low)[k]) == pytest.approx(expected, abs=1e-9)
        assert float(exchanged[k]) == pytest.approx(turned, abs=1e-9)
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_law_of_the_count_agrees_with_enumeration(channel):
    a, b = 0.7, 1.9
    tensors = [torch.tensor(x, dtype=torch.float64) for x in (a, b, channel.rho0, channel.rho1, channel.swapped)]
    law = count_law(joint_law(3, (tensors[0], tensors[1]), (tensors[2], tensors[3], tensors[4]))).exp()
    counted = [0.0] * 4
    for told in itertools.product((0, 1), repeat=3):
        counted[sum(told)] += enumerated(told, a, b, channel)[0]
    torch.testing.assert_close(law, torch.tensor(counted, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_without_noise_what_is_told_is_told(size):
    if_high, if_low, exchanged = expected_truth(size, 1.0, 1.0, Channel())
    assert float((1 - if_high[1:]).abs().max()) < 1e-4
    assert float(if_low[:-1].abs().max()) < 1e-4
    assert float(exchanged.max()) < 1e-3


@pytest.mark.parametrize("size", [2, 5])
def test_exchanging_all_groups_reads_every_verdict_the_other_way_round(size):
    """f is symmetric: a channel that exchanges with 1 - s, told the mirror image, means the same."""
    one, other = Channel(0.1, 0.25, 0.2), Channel(0.1, 0.25, 0.8)
    if_high, if_low, exchanged = expected_truth(size, 2.0, 0.6, one)
    mirrored_high, mirrored_low, mirrored = expected_truth(size, 2.0, 0.6, other)
    torch.testing.assert_close(if_high[1:], mirrored_low.flip(0)[1:])
    torch.testing.assert_close(if_low[:-1], mirrored_high.flip(0)[:-1])
    torch.testing.assert_close(exchanged, 1 - mirrored.flip(0))


def test_mirrored_prior_and_rates_mirror_the_answer():
    """Right and wrong are names: with (a, b) and (rho0, rho1) exchanged, P(right) becomes P(wrong)."""
    if_high, if_low, exchanged = expected_truth(4, 3.0, 0.5, Channel(0.1, 0.3, 0.2))
    again_high, again_low, again = expected_truth(4, 0.5, 3.0, Channel(0.3, 0.1, 0.2))
    torch.testing.assert_close(if_high[1:], 1 - again_low.flip(0)[1:])
    torch.testing.assert_close(if_low[:-1], 1 - again_high.flip(0)[:-1])
    torch.testing.assert_close(exchanged, again.flip(0))


def test_a_group_that_contradicts_a_strong_prior_is_read_the_other_way_round():
    """Policy right nine times of ten, one of eight told right: by hand, f=1 has odds (.2/.8) * BB(7)/BB(1)."""
    a, b = 9.0, 1.0
    if_high, if_low, exchanged = expected_truth(8, a, b, Channel(0.0, 0.0, 0.2))
    ways = {s: math.comb(8, s) * rising(a, s) * rising(b, 8 - s) / rising(a + b, 8) for s in (1, 7)}
    odds = 0.2 / 0.8 * ways[7] / ways[1]
    assert float(exchanged[1]) == pytest.approx(odds / (1 + odds), abs=1e-4)
    assert float(exchanged[1]) > 0.9
    assert float(if_low[1]) > 0.9 > 0.1 > float(if_high[1])
    assert float(if_high[7]) > 0.95 and float(if_low[7]) < 0.05  # as expected of the policy: read as told


@given(
    size=st.integers(1, 7), a=st.floats(0.2, 8), b=st.floats(0.2, 8),
    rho0=st.floats(0, 0.49), rho1=st.floats(0, 0.49), swapped=st.floats(0, 0.49),
)  # fmt: skip
def test_beliefs_add_up_and_lie_in_the_range(size, a, b, rho0, rho1, swapped):
    """The expected number of right siblings, averaged over what is told, is the prior's: nothing is made up."""
    channel = Channel(rho0, rho1, swapped)
    if_high, if_low, exchanged = expected_truth(size, a, b, channel)
    tensors = [torch.tensor(x, dtype=torch.float64) for x in (a, b, rho0, rho1, swapped)]
    law = count_law(joint_law(size, (tensors[0], tensors[1]), (tensors[2], tensors[3], tensors[4]))).exp()
    k = torch.arange(size + 1, dtype=torch.float64)
    assert float(law.sum()) == pytest.approx(1.0)
    right = float((law * (k * if_high + (size - k) * if_low)).sum())
    assert right == pytest.approx(size * a / (a + b), rel=1e-4)
    for values in (if_high, if_low, exchanged):
        assert float(values.min()) >= 0 and float(values.max()) <= 1 + 1e-9
    assert bool((if_high[1:-1] >= if_low[1:-1] - 1e-9).all()) or swapped > 0


def simulated(channel, priors, groups, size, seed):
    """Counts of groups by kind, drawn from the model."""
    dice = torch.Generator().manual_seed(seed)
    counts = []
    for kind, (a, b) in enumerate(priors):
        gamma = torch.distributions.Beta(a, b)
        torch.manual_seed(seed + kind)
        theta = gamma.sample((groups,))
        right = torch.rand(groups, size, generator=dice) < theta[:, None]
        high = torch.where(right, 1 - channel.rho1, channel.rho0)
        told = torch.rand(groups, size, generator=dice) < high
        told ^= torch.rand(groups, 1, generator=dice) < channel.swapped
        counts.append((kind, torch.bincount(told.sum(1), minlength=size + 1).double()))
    return tuple(counts)


@pytest.mark.parametrize(
    ("channel", "free", "within"),
    [
        (Channel(0.15, 0.25, 0.0), ("rho0", "rho1"), 0.05),
        (Channel(0.0, 0.0, 0.25), ("swapped",), 0.03),
        (Channel(0.1, 0.1, 0.2), ("rho0", "rho1", "swapped"), 0.07),
    ],
)
def test_rates_are_found_in_the_verdicts_of_kinds_that_differ(channel, free, within):
    """Three kinds, 1500 groups of 8 each, seed 3: within the stated distance, priors' means within .08."""
    priors = ((0.6, 3.0), (2.0, 2.0), (5.0, 0.8))
    counts = simulated(channel, priors, 1500, 8, seed=3)
    begin = Fit(Channel(0.05, 0.05, 0.05 if "swapped" in free else 0.0), ((1.0, 1.0),) * 3, 0.0)
    if "rho0" not in free:
        begin = Fit(Channel(0.0, 0.0, 0.05), begin.priors, 0.0)
    found = fit_channel(counts, begin, free)
    for name in ("rho0", "rho1", "swapped"):
        assert getattr(found.channel, name) == pytest.approx(getattr(channel, name), abs=within), name
    for (a, b), (true_a, true_b) in zip(found.priors, priors, strict=True):
        assert a / (a + b) == pytest.approx(true_a / (true_a + true_b), abs=0.08)


def test_a_rate_that_is_not_free_stays_as_stated():
    counts = simulated(Channel(0.2, 0.2), ((1.0, 1.0), (4.0, 1.0)), 200, 4, seed=1)
    found = fit_channel(counts, Fit(Channel(0.1, 0.07, 0.03), ((1.0, 1.0),) * 2, 0.0), ("rho0",))
    assert (found.channel.rho1, found.channel.swapped) == (0.07, 0.03)
    assert found.channel.rho0 != 0.1
    with pytest.raises(ValueError, match="rho0, rho1 and swapped"):
        fit_channel(counts, found, ("exchanged",))


def test_without_counts_everything_stays_where_it_began():
    """The penalties pull rates to the start and priors to an even one; there is nothing else."""
    found = fit_channel((), Fit(Channel(0.1, 0.2, 0.05), ((1.0, 1.0),), 0.0), ("rho0", "rho1", "swapped"))
    assert found.channel.rho0 == pytest.approx(0.1, abs=1e-4)
    assert found.channel.rho1 == pytest.approx(0.2, abs=1e-4)
    assert found.channel.swapped == pytest.approx(0.05, abs=1e-4)
    assert found.priors[0] == pytest.approx((1.0, 1.0), abs=1e-4)


def loss_of(fit, counts, start, free, strength=2.0):
    """The loss of the docstring, written from it anew."""
    value = 0.0
    for kind, count in counts:
        tensors = [torch.tensor(x, dtype=torch.float64) for x in fit.priors[kind]]
        rates = [torch.tensor(getattr(fit.channel, n), dtype=torch.float64) for n in ("rho0", "rho1", "swapped")]
        law = count_law(joint_law(len(count) - 1, (tensors[0], tensors[1]), (rates[0], rates[1], rates[2])))
        value -= float((count * law).sum())
    for name in free:
        rate, at = 2 * getattr(fit.channel, name), 2 * getattr(start.channel, name)
        at = min(max(at, 0.02), 0.98)
        value -= strength * (at * math.log(rate) + (1 - at) * math.log(1 - rate))
    spread = 2 / math.sqrt(strength)
    return value + sum(0.5 * (math.log(x) / spread) ** 2 for prior in fit.priors for x in prior)


def test_a_fit_never_raises_the_loss_and_is_the_same_each_time():
    """Groups of several sizes, one of a single answer; more rounds are never worse, and the same bits come twice."""
    free = ("rho0", "rho1", "swapped")
    start = Fit(Channel(0.05, 0.05, 0.05), ((1.0, 1.0),) * 2, 0.0)
    counts = (
        (0, torch.tensor([3.0, 5.0], dtype=torch.float64)),
        (0, torch.tensor([9.0, 1.0, 0.5, 0.0, 7.0], dtype=torch.float64)),
        (1, torch.tensor([0.0, 2.0, 11.0], dtype=torch.float64)),
    )
    losses = [loss_of(start, counts, start, free)]
    for rounds in (1, 2, 4, 8, 40):
        found = fit_channel(counts, start, free, rounds=rounds)
        losses.append(loss_of(found, counts, start, free))
        assert all(0 < getattr(found.channel, name) < 0.5 for name in free)
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.1
    assert fit_channel(counts, start, free) == found
    assert found.mean_log_likelihood == pytest.approx(-losses[-1] / 38.5, abs=1e-6)


@pytest.mark.parametrize("size", [1, 6])
def test_gradients_are_finite_at_the_edges(size):
    """Rates of 0 and 1 are clamped: no NaN reaches a step, also where a pattern is all but impossible."""
    for rho in (0.0, 0.5, 1.0):
        rates = [torch.tensor(rho, dtype=torch.float64, requires_grad=True) for _ in range(3)]
        prior = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.05, 20.0)]
        law = count_law(joint_law(size, (prior[0], prior[1]), (rates[0], rates[1], rates[2])))
        assert bool(law.isfinite().all())
        law.sum().backward()
        assert all(bool(one.grad.isfinite()) for one in (*rates, *prior))


def test_a_rate_outside_of_a_probability_is_refused():
    with pytest.raises(ValueError, match=r"swapped is 1\.2"):
        Channel(swapped=1.2)
    assert Channel(0.1, 0.2, 0.25).signal == pytest.approx(0.35)
