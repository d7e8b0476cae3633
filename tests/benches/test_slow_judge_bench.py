"""The slow judge bench: what is compared is the same step, and only the waiting may differ."""

import json
from time import perf_counter

import pytest
import torch

from critica.benches.base import Order
from critica.benches.slow_judge import SlowJudgeSettings, Step, compare, run_slow_judge, write
from critica.benches.slow_judge_overlap import Overlap, Pace, Round, answered, critical
from critica.policies.base import DecodeWatch


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
    overlap = Overlap(4, 2, 6, 3.0, 4.0, 7.0, 5.0, 6.0)
    page = write(Order(out=tmp_path), settings, readings, [overlap]).read_text()
    assert "| 4 | 4 | 1.00 | 2.00 | 6.00 | 2.000 | FAIL |" in page
    assert "| 4 | 6 | 3.00 | 7.00 | 1.000 | 5.00 | 6.00 | 1.200 | FAIL | 0.857 |" in page


def test_a_schedule_by_hand():
    """Two who take 2 s each, asked at 0, 0, 1, 5, answer at 2, 2, 4, 7; one alone answers at 2, 4, 6, 8."""
    asked = (1.0, 0.0, 0.0, 5.0)
    assert answered(asked, 2.0, 2) == 7.0 and answered(asked, 2.0, 1) == 8.0 and answered(asked, 2.0, 9) == 7.0
    assert critical(Round(5.5, asked, ()), 2.0, 1) == 8.5  # half a second is left after the last answer


def test_a_pace_is_kept():
    pace, start = Pace(0.05), perf_counter()
    assert pace.begin(1, [], 1.0) is pace and isinstance(pace, DecodeWatch)
    for _ in range(4):
        pace.on_drawn(*[torch.zeros(1)] * 5)
    assert perf_counter() - start >= 0.2


def test_a_small_slice_over_loopback(tmp_path):
    """Real runs against a real server: both ask the same, and the waiting is really there."""
    slice_of = ("delay_seconds=0.2", "concurrency=[1]", "prompts=1", "samples=6", "steps=2", "token_seconds=0.1")
    order = Order(out=tmp_path, settings=slice_of)
    run_slow_judge(order)
    kept = json.loads((tmp_path / "slow_judge.json").read_text())
    (reading,) = kept["readings"]
    assert 1 <= reading["questions"] <= 6 and reading["seconds"] > reading["waiting_seconds"] >= 0.2
    (overlap,) = kept["overlaps"]
    assert (
        overlap["seconds"] >= overlap["critical_seconds"] - 0.2
        and overlap["after_seconds"] > overlap["waiting_seconds"]
    )
