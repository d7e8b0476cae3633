"""Learning rates over a run: by hand at chosen updates, and as the optimizer of a real run applies them."""

import math

import pytest
import torch

from critica.store.run_folder import RunFolder
from critica.training.optimizer import Optimizer
from critica.training.rates import updates_of
from critica.training.run import resume, train
from critica.updaters.gradient import Adam


def rates(settings, total):
    return [settings.rate(update, total) for update in range(1, total + 1)]


def test_a_line_and_half_a_cosine_by_hand():
    line = Adam(1.0, warmup_steps=2, schedule="linear", final_factor=0.2)
    assert rates(line, 6) == pytest.approx([0.5, 1.0, 0.8, 0.6, 0.4, 0.2])
    wave = Adam(2.0, schedule="cosine")
    assert rates(wave, 5) == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5), 0.0])
    assert rates(Adam(0.3, warmup_steps=3), 5) == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])


def test_after_the_last_update_the_rate_stays_at_its_end():
    assert Adam(1.0, schedule="linear", final_factor=0.1).rate(12, 10) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_one_update_is_made_at_the_whole_rate(schedule):
    assert Adam(1.0, schedule=schedule).rate(1, 1) == 1.0


def test_a_falling_rate_needs_to_know_the_end():
    weight = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError, match="schedule=constant"):
        Optimizer([("w", weight)], Adam(1.0, schedule="linear"))
    with pytest.raises(ValueError, match="final_factor"):
        Adam(1.0, final_factor=2.0)


def test_a_run_ends_at_the_last_rate_of_its_schedule_and_a_longer_one_goes_on_falling(small, tmp_path):
    from dataclasses import replace

    plain = small("ppo", steps=4)
    learner = replace(
        plain.learner, policy=Adam(1e-3, schedule="linear", final_factor=0.25),
        critic=Adam(1e-3, schedule="cosine"), policy_epochs=2, critic_warmup_steps=0,
    )  # fmt: skip
    recipe = replace(plain, learner=learner)
    assert updates_of(recipe) == (8, 8)
    train(recipe, tmp_path / "run")
    told = [line["learning_rate/policy"] for line in RunFolder.open(tmp_path / "run").metrics()]
    falling = [1e-3 * (1 - 0.75 * k / 7) for k in range(8)]
    assert told == pytest.approx([(falling[k] + falling[k + 1]) / 2 for k in (0, 2, 4, 6)])
    resume(tmp_path / "run", steps=5)
    last = list(RunFolder.open(tmp_path / "run").metrics())[-1]
    assert last["learning_rate/policy"] == pytest.approx(1e-3 * (1 - 0.75 * 8.5 / 9))
