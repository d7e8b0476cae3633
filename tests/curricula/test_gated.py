"""The gate: closed until the critic is good, at most so long, open for good, and resumed as it was."""

import json
import math

import pytest

from critica.curricula.base import Budget
from critica.curricula.gated import GatedWarmup, GateProblem
from critica.environments.digit_sum import DigitSum
from critica.policies.base import SampleLimits
from critica.records.arrays import Metric

EV = "critic/explained_variance"


def gate(quality=0.3, window=3, most=20, learned=True):
    budget = Budget(2, 4, SampleLimits(6), most, learned)
    return GatedWarmup(quality, window).build(DigitSum().build(0), budget)


def stages(live, readings, start=1):
    names = []
    for step, reading in enumerate(readings, start):
        names.append(live.next(step).stage.name)
        live.feedback((Metric("reward/told", 1.0, 1.0), Metric(EV, reading, 1.0)))
    return names


def test_it_opens_after_the_window_passes_and_stays_open():
    readings = [0.9, 0.0, 0.0, 0.4, 0.5, 0.0, -9.0, -9.0]
    # Means over three: .3 at step 3 (not below the quality: it opens), so step 4 trains.
    assert stages(gate(), readings) == ["critic_warmup"] * 3 + ["train"] * 5
    assert stages(gate(0.31), readings) == ["critic_warmup"] * 8
    late = gate(0.3)
    assert stages(late, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]) == ["critic_warmup"] * 5 + ["train"]
    assert late.opened_after == 5
    request = late.next(7)
    assert request.stage.policy and request.stage.critic


def test_it_waits_no_longer_than_the_warmup_steps():
    assert stages(gate(most=4), [-1.0] * 6) == ["critic_warmup"] * 4 + ["train"] * 2


def test_a_reading_that_is_no_number_is_no_step():
    live = gate(window=2)
    assert stages(live, [0.9, math.nan, math.nan, 0.9, 0.0]) == ["critic_warmup"] * 4 + ["train"]
    silent = gate(window=2)
    for step in (1, 2, 3):
        silent.next(step)
        silent.feedback(())
    assert silent.opened_after == -1


def test_it_resumes_in_the_middle_of_its_window():
    readings = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.0]
    whole, cut, fresh = gate(), gate(), gate()
    wanted = stages(whole, readings)
    stages(cut, readings[:4])
    tasks = cut.draw(3)
    fresh.load_state_dict(json.loads(json.dumps(cut.state_dict())))
    assert stages(fresh, readings[4:], start=5) == wanted[4:]
    whole.draw(3)
    assert fresh.draw(1) == whole.draw(1) and fresh.draw(1)[0].task_id not in {task.task_id for task in tasks}


def test_once_open_it_is_open_after_a_resume():
    opened, fresh = gate(), gate()
    stages(opened, [0.5, 0.5, 0.5])
    assert opened.opened_after == 3
    fresh.load_state_dict(json.loads(json.dumps(opened.state_dict())))
    assert stages(fresh, [-1.0, -1.0, -1.0, -1.0], start=4) == ["train"] * 4 and fresh.opened_after == 3


def test_a_gate_that_cannot_work_is_refused():
    with pytest.raises(GateProblem, match="critic_warmup_steps"):
        gate(window=5, most=4)
    with pytest.raises(GateProblem, match="does not"):
        gate(learned=False)
    with pytest.raises(GateProblem, match="perfect"):
        GatedWarmup(quality=1.5)
