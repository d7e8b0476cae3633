"""A tiny random policy folder and recipes small enough to train in a test."""

from dataclasses import replace

import pytest

from critica.environments.digit_sum import DigitSum
from critica.policies.part import LocalPolicy
from critica.recipes.base import Checkpoints, Sampling
from critica.recipes.catalogue import RECIPES
from critica.rewards.noise_specs import parse_noise
from critica.updaters.gradient import Adam
from tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A model folder; see `write_tiny_model`."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def small(tiny_folder):
    """A recipe by name, cut down to seconds: 3 prompts, 4 samples, 6 tokens, on the digit-sum game."""

    def make(name, **changes):
        recipe = RECIPES[name]
        learner = replace(
            recipe.learner, policy=Adam(3e-3), critic=Adam(3e-3), tokens_per_microbatch=256,
            critic_warmup_steps=min(1, recipe.learner.critic_warmup_steps),
        )  # fmt: skip
        admission = replace(recipe.admission, max_rounds=1) if recipe.name != "dapo" else RECIPES["grpo"].admission
        made = replace(
            recipe, policy=LocalPolicy(str(tiny_folder)), environment=DigitSum(), sampling=Sampling(3, 4, 1.0, 6),
            noise=parse_noise("none" if name in ("proact", "sft", "eksft") else "flip:0.2:sample"), learner=learner,
            admission=admission, steps=4, seed=3,
            checkpoint=Checkpoints(every=2, keep=2), threads=1,
        )  # fmt: skip
        return replace(made, **changes)

    return make
