"""The bench of group estimators: arms that differ as stated, verdicts that follow the numbers, a permutation test."""

from itertools import permutations

import numpy as np
import pytest

from critica.benches.estimators import EstimatorsSettings, runs_of
from critica.benches.estimators_page import estimators_figure, estimators_page, verdict_lines
from critica.benches.estimators_verdict import chance_of_spread, round_of
from critica.benches.noise_arms import ESTIMATORS, Lengths, recipe_of, updated_name
from critica.benches.noise_trial import Point, Trial
from critica.recipes.catalogue import RECIPES

MACHINE = {"processor": "P", "commit": "c", "versions": {"torch": "2"}}


def trial(name: str, seed: int, final: float, updates: int = 1) -> Trial:
    """From 40 points to `final` in a straight line over 100 samples."""
    points = (Point(0, 0, 0.0, 0.4), Point(1, 100, 2.0, final))
    return Trial(1, "", "worked", "none", updated_name(name, updates), seed, 1e-3, points, final, False, "c")


def finished(**gaps: float) -> list[Trial]:
    """GRPO at 60, 61, 62 points, the others so far above it, give or take a tenth of a point by seed."""
    wobble = (0.001, -0.001, 0.0)
    return [
        trial(name, seed, 0.6 + seed / 100 + gap + (wobble[seed] if gap else 0.0))
        for name, gap in {"grpo": 0.0, **gaps}.items()
        for seed in range(3)
    ]


def test_each_run_is_the_recipe_at_the_shared_sizes_and_so_many_updates() -> None:
    runs = runs_of(2, EstimatorsSettings())
    assert len(runs) == 2 * 2 * len(ESTIMATORS) and {run.noise for run in runs} == {"none"}
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    for run in runs[: 2 * len(ESTIMATORS)]:
        made, own = recipe_of(run, Lengths()), RECIPES[run.arm.partition("@")[0]]
        assert made.objective == own.objective and made.advantage == own.advantage and made.critic == own.critic
        assert made.admission == own.admission and made.learner.updates_per_epoch == int(run.arm[-1])
        assert made.learner.policy.learning_rate == {1: 2e-4, 4: 1e-4}[made.learner.updates_per_epoch]
        assert (made.sampling.prompts_per_step, made.sampling.samples_per_prompt) == (8, 8)


def test_rows_are_in_order_and_differences_are_paired_by_seed() -> None:
    found = round_of(1, 2e-4, ("rloo", "grpo", "max_rl"), finished(rloo=-0.05, max_rl=0.1))
    assert found is not None and [row.name for row in found.rows] == ["max_rl", "grpo", "rloo"]
    best, reference, worst = found.rows
    assert reference.over is None and reference.final.estimate == pytest.approx(0.61)
    assert best.over is not None and best.over.estimate == pytest.approx(0.1)
    assert best.over.high == pytest.approx(0.1 + 4.302653 * 0.001 / 3**0.5)  # t with 2 degrees of freedom
    assert best.over_all is not None and best.over_all.high > best.over.high
    assert best.area_over is not None and best.area_over.estimate == pytest.approx(0.05)
    assert worst.over is not None and worst.over.high < 0 and worst.worst == pytest.approx(0.551)
    said = verdict_lines(found)[1]
    assert "better beyond the interval: max_rl +10.0" in said and "worse: rloo -5.0" in said
    assert "undecided: 0 of 2" in said


def test_one_that_wobbles_around_the_reference_is_undecided() -> None:
    noisy = [trial("rloo", seed, 0.6 + seed / 100 + gap) for seed, gap in enumerate((0.05, -0.06, 0.02))]
    found = round_of(1, 2e-4, ("grpo", "rloo"), [*finished(), *noisy])
    assert found is not None and "undecided: 1 of 1" in verdict_lines(found)[1]


def test_a_round_without_the_reference_says_nothing() -> None:
    assert round_of(1, 2e-4, ("grpo", "rloo"), [trial("rloo", 0, 0.5)]) is None
    with pytest.raises(ValueError, match="grpo is what the others are held against"):
        EstimatorsSettings(estimators=("rloo",))


def test_the_chance_of_a_spread_is_that_of_all_deals() -> None:
    """Three estimators, two seeds: all 36 deals walked through."""
    table = np.array([[0.1, 0.2], [0.5, 0.3], [0.6, 0.7]])
    wide = [
        np.var([(a + b) / 2 for a, b in zip(first, second, strict=True)]) >= table.mean(1).var() - 1e-12
        for first in permutations(table[:, 0])
        for second in permutations(table[:, 1])
    ]
    assert chance_of_spread(table) == pytest.approx(sum(wide) / 36, abs=0.01)
    assert 0 < sum(wide) < 36


def test_an_estimator_that_always_wins_is_seen_and_equal_ones_are_not() -> None:
    always = np.array([[0.5, 0.6, 0.4, 0.55, 0.5]] * 4) + np.array([[0.1], [0.0], [0.0], [0.0]])
    assert chance_of_spread(always) == pytest.approx(1 / 4**4, rel=0.5)  # the same one first in all five seeds
    assert chance_of_spread(np.full((4, 5), 0.5)) == 1.0


def test_the_page_and_the_picture_show_every_estimator() -> None:
    trials = finished(rloo=-0.05, max_rl=0.1)
    found = round_of(1, 2e-4, ("rloo", "grpo", "max_rl"), trials)
    assert found is not None
    page = estimators_page(MACHINE, EstimatorsSettings(), 3, [found])
    assert "| `max_rl` | 71.0" in page and "**+10.0" in page and "estimators_1.svg" in page
    picture = estimators_figure(found, trials)
    assert picture.count("<polyline") == 2 * (3 + 1 + 1)  # in each panel three seeds, their mean, and the reference
    assert picture.index(">max_rl<") < picture.index(">rloo<")
