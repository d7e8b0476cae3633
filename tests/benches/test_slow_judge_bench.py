"""The slow judge bench: what is compared is the same step, and only the waiting may differ."""

import json

import pytest

from critica.benches.base import Order
from critica.benches.slow_judge import SlowJudgeSettings, Step, compare, run_slow_judge, write


def test_the_critical_path_is_the_step_without_delay_and_the_waves():
    settings = SlowJudgeSettings(delay_seconds=2.0, concurrency=(4,), steps=2)
    quick = [Step(0.0, 0), Step(1.0, 8), Step(1.5, 17)]
    slow = [Step(0.0, 0), Step(5.0, 8), Step(11.8, 17)]
    (reading,) = compare(quick, slow, settings, 4)
    assert (reading.questions, reading.waiting_seconds, reading.undelayed_seconds) == (9, 6.0, 0.5)  # three waves of 4
    assert reading.ratio == pytest.approx(6.8 / 6.5)
    with pytest.raises(ValueError, match="other questions"):
        compare(quick, [*slow[:2], Step(11.8, 18)], settings, 4)
    with pytest.raises(ValueError, match="at least 2"):
        SlowJudgeSettings(steps=1)


def test_the_page_says_when_a_step_is_slower(tmp_path):
    settings = SlowJudgeSettings(concurrency=(4,), steps=2)
    readings = compare(
        [Step(0.0, 0), Step(1.0, 4), Step(2.0, 8)], [Step(0.0, 0), Step(3.0, 4), Step(9.0, 8)], settings, 4
    )
    page = write(Order(out=tmp_path), settings, readings).read_text()
    assert "| 4 | 4 | 1.00 | 2.00 | 6.00 | 2.000 | FAIL |" in page


def test_a_small_slice_over_loopback(tmp_path):
    """Real runs against a real server: both ask the same, and the waiting is really there."""
    order = Order(out=tmp_path, settings=("delay_seconds=0.2", "concurrency=[4]", "prompts=1", "samples=4", "steps=2"))
    run_slow_judge(order)
    kept = json.loads((tmp_path / "slow_judge.json").read_text())
    (reading,) = kept["readings"]
    assert 1 <= reading["questions"] <= 4 and reading["waiting_seconds"] == 0.2 and reading["seconds"] > 0.2
