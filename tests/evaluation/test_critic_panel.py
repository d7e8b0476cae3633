"""The panel against numbers worked by hand, and against truths that are known although they were only measured."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from critica.evaluation.critic_laws import crps, interval_coverage, law_points, wasserstein
from critica.evaluation.critic_panel import (
    AuditedStates,
    Predicted,
    moments,
    panel_row,
    reliability,
    signal_to_noise,
    slices_by_length,
    slices_by_place,
)
from critica.records.arrays import Bernoulli, Categorical, Gaussian, Quantiles, ValuePrediction


def states_of(prompt, answer, own, outcomes, weights=None, sampled=True) -> AuditedStates:
    outcomes = np.array(outcomes, dtype=float)
    n = len(prompt)
    if weights is None:
        weights = np.full(outcomes.shape, 1 / outcomes.shape[1])
    return AuditedStates(
        np.array(prompt), np.array(answer), (np.arange(n) % 2) * 0.5 + 0.1, np.array([4 + p for p in prompt]),
        np.array(own, dtype=float), outcomes, np.array(weights), sampled, 0.0, 1.0,
    )  # fmt: skip


def exact(prompt, truth, own=None) -> AuditedStates:
    """States whose law is known: a coin of this mean."""
    truth = np.array(truth, dtype=float)
    outcomes = np.tile([0.0, 1.0], (len(truth), 1))
    return states_of(
        prompt, prompt, truth if own is None else own, outcomes, np.stack([1 - truth, truth], 1), sampled=False
    )


def measured(seed=0, prompts=600, per=4, k=8):
    """True values and k coins thrown for each: prompts differ, and states inside them."""
    rng = np.random.default_rng(seed)
    truth = (rng.uniform(0.2, 0.8, (prompts, 1)) + rng.uniform(-0.2, 0.2, (prompts, per))).ravel()
    prompt = np.repeat(np.arange(prompts), per)
    outcomes = (rng.random((len(truth), k)) < truth[:, None]).astype(float)
    return states_of(prompt, prompt, rng.random(len(truth)) < truth, outcomes), truth


def test_exact_truths_by_hand():
    states = exact([0, 0, 1, 1], [0.2, 0.4, 0.6, 1.0])
    value = np.array([0.3, 0.3, 0.9, 0.9])
    found = moments(states, value, np.ones(4))
    assert found["bias"] == pytest.approx(0.05)
    assert found["mse"] == pytest.approx((0.01 + 0.01 + 0.09 + 0.01) / 4)
    assert found["mae"] == pytest.approx((0.1 + 0.1 + 0.3 + 0.1) / 4)
    # Var(truth) = .0875; errors .1 -.1 .3 -.1 have mean .05 and variance .0275.
    assert found["explained_variance"] == pytest.approx(1 - 0.0275 / 0.0875)
    assert found["within_mae"] == pytest.approx((0.1 + 0.1 + 0.2 + 0.2) / 4)
    assert found["within_explained"] == pytest.approx(0.0)
    assert found["brier"] == pytest.approx(0.03 + (0.16 + 0.24 + 0.24 + 0.0) / 4)


def test_the_noise_of_the_truth_is_taken_out():
    """A critic that is off by a known amount reads that amount, not that and the coins' noise."""
    states, truth = measured(prompts=4000)
    off = np.random.default_rng(1).normal(0, 0.1, len(truth))
    found = moments(states, truth + off, np.ones(len(truth)))
    raw = ((truth + off - states.truth) ** 2).mean()
    assert raw > 0.03
    assert found["mse"] == pytest.approx((off**2).mean(), abs=0.002)
    assert found["explained_variance"] == pytest.approx(1 - off.var() / truth.var(), abs=0.03)
    inside = truth - truth.reshape(-1, 4).mean(1).repeat(4)
    left = off - off.reshape(-1, 4).mean(1).repeat(4)
    assert found["within_explained"] == pytest.approx(1 - left.var() / inside.var(), abs=0.1)


def test_a_perfect_critic_reads_the_floors():
    states, truth = measured(seed=2, prompts=800, k=64)
    row = panel_row(states, Predicted.of_points("perfect", "", truth))
    for name, tolerance in (("mae", 0.003), ("within_mae", 0.003), ("brier", 0.002), ("brier_skill", 0.01)):
        assert row[name].value == pytest.approx(row[name].floor, abs=tolerance), name
    assert row["mse"].low <= 0 <= row["mse"].high
    assert row["explained_variance"].value == pytest.approx(1, abs=0.02)
    assert row["within_explained"].value == pytest.approx(1, abs=0.1)
    coins = Predicted("coins", "", truth, np.tile([0.0, 1.0], (len(truth), 1)), np.stack([1 - truth, truth], 1))
    law = panel_row(states, coins)
    assert law["crps"].value == pytest.approx(law["crps"].floor, abs=0.003)
    assert law["w1"].value == pytest.approx(law["w1"].floor, abs=0.003)
    assert row["crps"].value > law["crps"].value + 0.1


def test_collapse_to_the_mean_of_the_prompt_shows():
    states, truth = measured(seed=3)
    collapsed = truth.reshape(-1, 4).mean(1).repeat(4)
    row = panel_row(states, Predicted.of_points("collapsed", "", collapsed))
    assert row["within_explained"].value == pytest.approx(0, abs=1e-9)
    assert math.isnan(row["rank_within"].value)
    assert row["rank_across"].value > 0.85
    assert row["explained_variance"].value > 0.5
    assert row["within_mae"].value > 1.05 * row["within_mae"].floor
    backwards = panel_row(states, Predicted.of_points("backwards", "", 2 * collapsed - truth))
    assert backwards["within_explained"].value < -2
    assert backwards["rank_within"].value < -0.1


def test_the_order_of_prompts_and_their_names_change_nothing():
    states, truth = measured(seed=4, prompts=40)
    value = truth + 0.05
    order = np.concatenate([np.arange(4) + 4 * p for p in np.random.default_rng(0).permutation(40)])
    renamed = replace(
        states, prompt=1000 - states.prompt[order], answer=states.answer[order], place=states.place[order],
        length=states.length[order], own=states.own[order], outcomes=states.outcomes[order],
        weights=states.weights[order],
    )  # fmt: skip
    one, two = moments(states, value, np.ones(160)), moments(renamed, value[order], np.ones(160))
    assert one == pytest.approx(two, nan_ok=True)


def test_an_interval_covers_most_of_the_time():
    inside = 0
    for seed in range(20):
        states, truth = measured(seed=seed + 10, prompts=60)
        off = np.random.default_rng(seed).normal(0, 0.15, len(truth))
        reading = panel_row(states, Predicted.of_points("off", "", truth + off), seed)["mse"]
        inside += reading.low <= 0.0225 <= reading.high
    assert inside >= 16


def test_unscored_continuations_have_no_weight():
    outcomes = [[1.0, 0.0, 1.0, math.nan], [0.0, 0.0, math.nan, math.nan]]
    known = ~np.isnan(np.array(outcomes))
    states = states_of([0, 1], [0, 1], [1, 0], outcomes, known / known.sum(1, keepdims=True))
    assert states.truth == pytest.approx([2 / 3, 0.0])
    assert states.noise == pytest.approx([(1 / 3) / 3, 0.0])  # sample variance 1/3 over three


def test_signal_to_noise_by_hand():
    """One answer of two states: true changes .25 and .25, then the other answer's -.25 and -.25."""
    states = exact([0, 0, 1, 1], [0.5, 0.75, 0.5, 0.25], own=[1.0, 1.0, 0.0, 0.0])
    weight = np.ones(4)
    perfect = np.array([0.5, 0.75, 0.5, 0.25])
    assert math.isnan(signal_to_noise(states, perfect, weight, of_change=True))  # r = 1: no noise at all
    # Credit of a constant 1/2 is the outcome -+1/2, in line with the change: r = 1 again.
    assert math.isnan(signal_to_noise(states, np.full(4, 0.5), weight, of_change=False))
    # Changes of this value are 0, .5, 0, -.5 against .25 .25 -.25 -.25: r² = (.25)² / (.125 * .0625 * 16) = 1/2.
    late = np.array([0.5, 0.5, 0.5, 0.5])
    assert signal_to_noise(states, late, weight, of_change=True) == pytest.approx(1.0)
    # Credit of -.5 where the value rises and +.5 where it falls is as regular as credit can be, and worth nothing.
    against = np.array([2.0, 1.5, -1.0, -0.5])
    assert signal_to_noise(states, against, weight, of_change=True) == 0.0


def test_laws_by_hand():
    outcomes, half = np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])
    point, coin = (np.array([[0.5]]), np.array([[1.0]])), (np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]))
    assert crps(*point, outcomes, half) == pytest.approx([0.5])
    assert crps(*coin, outcomes, half) == pytest.approx([0.25])
    assert wasserstein(*point, outcomes, half) == pytest.approx([0.5])
    assert wasserstein(*coin, outcomes, half) == pytest.approx([0.0])
    skewed = np.array([[0.75, 0.25]])
    assert wasserstein(np.array([[0.0, 1.0]]), skewed, outcomes, half) == pytest.approx([0.25])
    even = np.linspace(0.05, 0.95, 10)[None]
    tenth = np.full((1, 10), 0.1)
    # The 10% and 90% points of ten equal masses are the first and the ninth.
    assert interval_coverage(even, tenth, even, tenth, 0.1, 0.9) == pytest.approx([0.9])
    assert interval_coverage(even, tenth, np.array([[0.0, 0.5]]), half, 0.1, 0.9) == pytest.approx([0.5])


def test_every_law_keeps_its_mean():
    mean = torch.tensor([[0.3, 0.6]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    laws = (
        Bernoulli(),
        Gaussian(torch.tensor([[0.1, 0.2]])),
        Categorical(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[[[0.5, 0.4, 0.1]], [[0.2, 0.4, 0.4]]]])),
        Quantiles(torch.tensor([0.25, 0.75]), torch.tensor([[[[0.1, 0.5]], [[0.4, 0.8]]]])),
    )
    rows, columns = torch.tensor([0, 0]), torch.tensor([0, 1])
    for law in laws:
        points, shares = law_points(ValuePrediction(mean, mask, torch.zeros(1), law), rows, columns)
        assert shares.sum(1) == pytest.approx([1.0, 1.0])
        assert (points * shares).sum(1) == pytest.approx([0.3, 0.6], abs=1e-6), type(law).__name__


def test_slices_and_bins_hold_every_state_once():
    states, truth = measured(seed=5, prompts=50)
    for parts in (slices_by_place(states, truth, truth), slices_by_length(states, truth, truth)):
        assert sum(part.states for part in parts) == 200
    bins = reliability(states, truth)
    assert sum(bin.states for bin in bins) == 200
    assert all(abs(bin.value - bin.truth) < 3 * max(bin.error, 0.05) for bin in bins if bin.states > 5)
    low, high = slices_by_place(exact([0, 0, 1, 1], [0.2, 0.4, 0.6, 1.0]), np.zeros(4), np.zeros(4))
    assert (low.truth, high.truth) == (pytest.approx(0.4), pytest.approx(0.7))
