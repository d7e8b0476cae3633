"""Recipes with dense credit on a game of 81 answers with a tabular policy: the policy's exact worth rises."""

from dataclasses import replace

import pytest

from critica.advantages.step_tilt import StepTilt
from critica.critics.bodies import SharedTrunk
from critica.critics.chunk import ChunkCritic
from critica.critics.chunk_targets import ChunkBackup
from critica.critics.lagged import Lagged
from critica.critics.sentence_reward import SentenceReward
from critica.critics.success import SuccessCritic
from critica.functional.steps import Steps
from critica.recipes.catalogue import RECIPES
from tabular import play

STEPS, SHARED = Steps("tokens", 2), SharedTrunk()


def cut(name):
    """The recipe with two-token steps, reading the table's own states."""
    recipe = RECIPES[name]
    match name:
        case "direct_advantage":
            return replace(recipe, critic=SuccessCritic(STEPS, SHARED), advantage=StepTilt(0.1))
        case "dqc":
            return replace(
                recipe,
                critic=Lagged(ChunkCritic(STEPS, "expectile", 0.5, body=SHARED), 0.1),
                target=ChunkBackup(1.0, 1),
            )
        case "sentence_reward":
            return replace(recipe, critic=SentenceReward(STEPS))
    return recipe


@pytest.mark.parametrize(
    ("name", "warmup"), [("direct_advantage", 30), ("dqc", 0), ("sentence_reward", 5), ("align_distil", 30)]
)
def test_the_exact_worth_rises(name, warmup, monkeypatch):
    monkeypatch.setattr("critica.critics.bodies.OwnBody.build", lambda self, policy: policy.frozen_copy())
    _, _, worth = play(cut(name), seed=1, steps=warmup + 30, warmup=warmup)
    if name in ("direct_advantage", "align_distil"):
        assert worth[warmup] == worth[0]  # the policy stands still while the critic learns
    assert worth[-1] > worth[0] + 0.1
