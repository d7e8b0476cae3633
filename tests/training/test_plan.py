"""The plan against counted weights, and the sentences about idle settings."""

from dataclasses import replace

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.policies.language_model import LanguagePolicy
from critica.policies.shape import read_shape
from critica.recipes.catalogue import RECIPES
from critica.training.plan import describe, plan
from critica.training.rates import with_rates
from critica.updaters.gradient import Adam, rate_by_size


def test_parameters_are_those_of_the_model(small, tiny_folder):
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny_folder))
    assert read_shape(str(tiny_folder)).parameters == sum(weight.numel() for weight in model.parameters())
    for name in ("dvpo", "ppo", "grpo"):
        recipe = small(name)
        policy = LanguagePolicy.load(str(tiny_folder))
        critic = recipe.critic.build(CriticContext(policy, 0, 0.0, 1.0))
        counted = sum(w.numel() for _, w in critic.trainable()) if name != "grpo" else 0
        assert plan(recipe).critic_parameters == counted


def test_what_follows_from_the_three_batch_numbers(small):
    recipe = small("ppo", steps=10)
    learner = replace(recipe.learner, policy_epochs=2, updates_per_epoch=3, critic_epochs=4, critic_warmup_steps=1)
    planned = plan(replace(recipe, learner=learner))
    assert planned.trajectories_per_step == 12
    assert planned.policy_updates_per_step == 6
    assert planned.policy_updates == 9 * 6  # the first step warms the critic up
    assert planned.critic_updates == 10 * 4 * 3
    assert planned.sampled_tokens_at_most == 12 * 6 * 10


def test_idle_settings_are_named(small):
    said = " ".join(plan(small("grpo")).remarks)
    assert "clipping can never bind" in said
    learner = replace(small("grpo").learner, critic_warmup_steps=3, policy_epochs=2)
    said = " ".join(plan(small("grpo", learner=learner)).remarks)
    assert "critic_warmup_steps is idle" in said and "clipping" not in said
    shared = replace(small("ppo").critic, body=SharedTrunk())
    learner = replace(small("ppo").learner, critic_epochs=3)
    said = " ".join(plan(small("ppo", critic=shared, learner=learner)).remarks)
    assert "critic_epochs is idle" in said


def test_rates_follow_the_size_and_yield_to_the_user(small):
    assert rate_by_size(1_000_000) == pytest.approx(3e-4)
    assert 5e-7 < rate_by_size(7_000_000_000) < 2e-6
    assert rate_by_size(10**9, adapters=True) == pytest.approx(10 * rate_by_size(10**9))
    settled = with_rates(RECIPES["ppo"])
    assert settled.learner.policy.learning_rate == pytest.approx(2.9e-4, rel=0.05)
    given = replace(RECIPES["ppo"], learner=replace(RECIPES["ppo"].learner, policy=Adam(1e-5), critic=Adam(1e-4)))
    assert with_rates(given) == given


def test_the_description_names_every_number(small):
    text = describe(plan(small("dvpo")), small("dvpo"))
    for word in ("prompts_per_step", "samples_per_prompt", "tokens_per_microbatch", "memory", "learning rates"):
        assert word in text


def test_logits_are_planned_by_the_chunk(tiny_folder):
    shape = replace(read_shape(str(tiny_folder)), vocabulary=150_000)
    cells = 8192 * 150_000
    assert shape.head_bytes(8192) < 0.03 * 4 * 3 * cells
    assert shape.head_bytes(16384) == shape.head_bytes(8192)  # more tokens are more chunks
    assert read_shape(str(tiny_folder)).head_bytes(1000) == 4 * 3 * 1000 * shape_of_words(tiny_folder)
    rest = shape.activation_bytes(1, 64) - shape.head_bytes(1)
    assert shape.activation_bytes(8192, 64) == 8192 * rest + shape.head_bytes(8192)


def shape_of_words(folder):
    return AutoConfig.from_pretrained(folder).vocab_size
