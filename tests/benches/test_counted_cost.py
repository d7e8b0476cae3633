"""The counted-cost bench: the share is of the step's own seconds, and a breach is said."""

import json

import pytest

from critica.benches.base import Order
from critica.benches.counted_cost import CountedCostSettings, Share, measured, share_of, write


def test_the_share_is_the_median_over_steps_of_predict_and_estimate():
    steps = [{"predict": 1.0, "estimate": 1.0, "update": 8.0}, {"predict": 2.0, "estimate": 0.0, "update": 38.0},
             {"predict": 3.0, "estimate": 1.0, "update": 4.0}]  # fmt: skip
    assert share_of("x", steps) == Share("x", 2.0, 10.0, 0.2)


def test_a_breach_of_the_promise_is_written_down(tmp_path):
    shares = [Share("cheap", 0.001, 0.1, 0.01), Share("dear", 0.02, 0.1, 0.2)]
    page = write(Order(out=tmp_path), CountedCostSettings(), shares).read_text()
    assert "| cheap | 1.0 | 100 | 1.00% | pass |" in page and "| dear | 20.0 | 100 | 20.00% | FAIL |" in page
    assert json.loads((tmp_path / "counted_cost.json").read_text())["shares"][1]["share"] == 0.2


def test_a_recipe_is_measured_by_its_own_clock(tmp_path):
    share = measured("tempo", CountedCostSettings(steps=1, warmup=1, prompts=2, samples=2, threads=1), tmp_path / "run")
    assert 0 < share.critic_seconds < share.step_seconds
    assert share.share == pytest.approx(share.critic_seconds / share.step_seconds)
