"""How often the critic learns from a batch: by hand, against the published switch, and through a resumed run."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.bodies import SharedTrunk
from critica.critics.scalar import ScalarCritic
from critica.functional.plasticity import LearningReading, replay_move
from critica.recipes.base import Learner
from critica.recipes.catalogue import PARTS
from critica.recipes.config import from_tables
from critica.records.arrays import Metric, ValuePrediction
from critica.store.run_folder import RunFolder
from critica.training.assemble import assemble
from critica.training.replay_ratio import AdaptivePasses, FixedPasses, fresh_error
from critica.training.run import resume, train
from critica.updaters.replay_ratio import AdaptiveReplay, FixedReplay

SEEN = LearningReading(active=0.9, rank=20.0, error=0.8)


def move(now, before=SEEN, best=20.0, active=0.001, floor=0.5, error=0.05):
    return replay_move(before, now, best, active, floor, error)


@pytest.mark.parametrize(
    "now, expected",
    [
        (LearningReading(0.9, 20.0, 0.7), 1),  # steady, and the error fell
        (LearningReading(0.9, 20.0, 0.8), 0),  # steady, and it did not
        (LearningReading(0.9, 20.0, 0.83), 0),  # rose within the tolerance
        (LearningReading(0.9, 20.0, 0.85), -1),  # rose by more
        (LearningReading(0.8, 20.0, 0.7), -1),  # units went dormant, though the error fell
        (LearningReading(0.95, 20.0, 0.7), 0),  # still recovering: the paper waits here
        (LearningReading(0.9, 9.9, 0.7), -1),  # the rank collapsed
        (LearningReading(0.9, 10.0, 0.7), 1),
        (LearningReading(0.9, math.nan, 0.7), -1),  # every feature is zero
        (LearningReading(0.9, 20.0, math.nan), 0),  # nothing was told: nothing is decided
    ],
)
def test_a_move_by_hand(now, expected):
    assert move(now) == expected


def test_with_an_error_that_always_falls_and_no_floor_it_is_the_published_switch():
    """2310.07418, released code: go high when two readings of the active share differ by at most 0.001."""
    shares = [0.99, 0.6, 0.55, 0.6, 0.7, 0.7005, 0.8]
    readings = [LearningReading(share, 1.0, 1.0 / (i + 1)) for i, share in enumerate(shares)]
    switched = [move(b, a, floor=0.0) == 1 for a, b in itertools.pairwise(readings)]
    assert switched == [abs(b - a) <= 0.001 for a, b in itertools.pairwise(shares)]
    assert switched.index(True) == 4


def heard(live, steps, errors, start=1):
    """Hear these errors, one a step, with steady features; returns the passes that were made."""
    made = []
    for step, error in enumerate(errors[:steps], start=start):
        made.append(live.passes())
        batch = token_batch(["css", "css"], [0, 1])
        told = told_batch(batch, [1.0, 0.0])
        mean = torch.tensor([[0.0, 1 - error, 1 - error], [0.0, error, error]])
        values = ValuePrediction(mean, batch.sampled_mask, torch.zeros(2))
        readings = (Metric("critic/dormant_units", 0.1, 1.0), Metric("critic/feature_rank", 5.0, 1.0))
        live.hear(step, told, values, readings)
    return made


def test_the_ratio_doubles_while_the_fresh_error_falls_and_halves_when_it_rises():
    live = AdaptivePasses(AdaptiveReplay(low=1.0, high=4.0, every=2))
    falling, rising = [0.5, 0.5, 0.4, 0.4, 0.3, 0.3, 0.2, 0.2], [0.4, 0.4, 0.5, 0.5, 0.5, 0.5]
    assert heard(live, 8, falling) == [1, 1, 1, 1, 2, 2, 4, 4]
    assert heard(live, 6, rising, start=9) == [4, 4, 2, 2, 1, 1]
    assert live.ratio == 1.0


def test_fractions_of_a_pass_are_owed():
    live = AdaptivePasses(AdaptiveReplay(low=0.5, high=2.0, every=100))
    assert [live.passes() for _ in range(6)] == [0, 1, 0, 1, 0, 1]
    live.ratio = 1.5
    assert [live.passes() for _ in range(4)] == [1, 2, 1, 2]


def test_the_fresh_error_is_over_the_variance_of_what_was_told():
    batch = token_batch(["css", "cs", "css"], [0, 1, 2])
    told = told_batch(batch, [1.0, 0.0, None])
    mean = torch.tensor([[0.0, 0.5, 0.75], [0.0, 0.25, 0.0], [0.0, 9.0, 9.0]])
    squares, spread = fresh_error(told, ValuePrediction(mean, batch.sampled_mask, torch.zeros(3)))
    assert squares == pytest.approx(0.25 + 0.0625 + 0.0625)
    assert spread == pytest.approx(2 / 3)  # outcomes 1, 1, 0 over tokens; the unknown row counts for nothing


def test_a_state_given_back_decides_alike_to_the_last_bit():
    errors = [0.5, 0.45, 0.41, 0.43, 0.3, 0.31, 0.2, 0.37, 0.1, 0.4]
    whole, first, second = (AdaptivePasses(AdaptiveReplay(low=0.5, high=3.0, every=2)) for _ in range(3))
    expected = heard(whole, 10, errors)
    begun = heard(first, 5, errors)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert begun + heard(second, 5, errors[5:], start=6) == expected
    assert second.state_dict() == whole.state_dict()


def test_wrong_settings_are_refused_and_the_config_reads_it(small):
    with pytest.raises(ValueError, match="0 < low <= high"):
        AdaptiveReplay(low=2.0, high=1.0)
    with pytest.raises(ValueError, match="leave critic_epochs at 1"):
        Learner(critic_epochs=2, replay=AdaptiveReplay())
    read = from_tables({"replay": {"use": "adaptive", "high": 8.0}}, Learner, PARTS)
    assert read.replay == AdaptiveReplay(high=8.0) and Learner().replay == FixedReplay()
    shared = small("vc_ppo", critic=ScalarCritic(SharedTrunk()))
    with pytest.raises(ValueError, match=r"critic\.body=own"):
        assemble(replace(shared, learner=replace(shared.learner, replay=AdaptiveReplay())))
    assembly = assemble(small("vc_ppo"))
    assert isinstance(assembly.learner.replay, FixedPasses)
    assembly.close()


def test_a_run_makes_the_passes_and_resumes_to_the_same_bits(small, tmp_path):
    recipe = small("vc_ppo")
    learner = replace(recipe.learner, replay=AdaptiveReplay(low=0.5, high=2.0, every=1, error_tolerance=10.0))
    recipe = replace(recipe, learner=learner)
    train(recipe, tmp_path / "whole")
    train(replace(recipe, steps=2), tmp_path / "cut")
    resume(tmp_path / "cut", steps=4)
    ends = [run / "checkpoints" / "step_4" for run in (tmp_path / "whole", tmp_path / "cut")]
    for name in ("critic/value_head.safetensors", "critic_optimizer.safetensors", "progress.json"):
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes(), name
    state = json.loads((ends[0] / "progress.json").read_text())["replay"]
    assert state["best_rank"] > 1 and state["before"] is not None
    lines = list(RunFolder.open(tmp_path / "whole").metrics())
    assert lines[0]["critic/replay_ratio"] == 0.5  # the rehearsal before training left no trace
    learned = ["loss/value" in line.values for line in lines]
    assert learned[:2] == [False, True]  # half a pass: the first step is skipped, the second learns
    assert lines[-1]["critic/feature_rank"] > 1
