"""The printed cost of a critic: hand-counted operations and tokens, and what grows with what."""

from dataclasses import replace

import pytest

from critica.advantages.outcome import Outcome
from critica.critics.bodies import SharedTrunk
from critica.critics.counted import GroupMean
from critica.critics.generative import GenerativeCritic
from critica.critics.hista import HiddenNeighbors
from critica.critics.lagged import Lagged
from critica.critics.language import StatedValue
from critica.critics.monte_carlo import MonteCarloRollouts
from critica.critics.posterior import BetaPosterior
from critica.critics.preference_models import PreferenceModels
from critica.critics.scalar import ScalarCritic
from critica.critics.simulator import SimulatorRollouts
from critica.policies.shape import ModelShape
from critica.recipes.catalogue import RECIPES
from critica.training.critic_cost import Workload, critic_cost, describe_cost, forward_flop, kept_bytes, sampled_tokens

SHAPE = ModelShape(
    width=8, layers=2, heads=2, key_value_heads=1, head_width=4, intermediate=16, vocabulary=10, tied=True,
    typical_prompt_tokens=6,
)  # fmt: skip


def cost(critic, answer=4, **learner):
    base = replace(RECIPES["ppo"], advantage=Outcome(scale="none"))
    sampling = replace(base.sampling, prompts_per_step=3, samples_per_prompt=2)
    return critic_cost(
        replace(base, critic=critic, sampling=sampling, learner=replace(base.learner, **learner)), SHAPE, answer
    )


def test_operations_of_a_token_are_two_a_weight_and_the_attention_over_half_the_length():
    assert forward_flop(100, SHAPE, 3, 10) == 3 * (200 + 2 * 2 * 10 * 8)


def test_a_critic_with_a_body_of_its_own_reads_prompt_and_answer_once_when_it_learns_once():
    found = cost(ScalarCritic())
    layers = SHAPE.body_parameters - 80  # the embedding is looked up, not multiplied
    once = forward_flop(layers + 9, SHAPE, 6 * 10, 10)
    assert found.forward_gflop == pytest.approx(once / 1e9) and found.backward_gflop == pytest.approx(2 * once / 1e9)
    assert found.trained_parameters == found.held_parameters == SHAPE.body_parameters + 9
    assert found.memory_mib == pytest.approx(16 * found.trained_parameters / 2**20)
    again = cost(ScalarCritic(), critic_epochs=3)
    assert again.forward_gflop == pytest.approx(4 * once / 1e9)  # three passes, and the prediction's own
    assert again.backward_gflop == pytest.approx(6 * once / 1e9)


def test_on_the_policys_trunk_only_the_head_costs():
    found = cost(ScalarCritic(body=SharedTrunk()))
    assert found.trained_parameters == 9 and found.forward_gflop == pytest.approx(6 * 4 * 18 / 1e9)
    assert found.share < 0.01 < cost(ScalarCritic()).share


def test_a_lagged_copy_is_held_and_not_trained():
    plain, lagged = cost(ScalarCritic()), cost(Lagged(ScalarCritic()))
    assert lagged.trained_parameters == plain.trained_parameters
    assert lagged.held_parameters == 2 * plain.held_parameters
    assert lagged.forward_gflop == pytest.approx(2 * plain.forward_gflop)  # no pass can be taken over


def test_continuations_are_counted_from_each_node_to_the_longest_answer():
    load = Workload(prompts=3, samples=2, prompt_tokens=6, answer_tokens=10)
    # Nodes at 0, 4 and 8: 10 tokens once a prompt, then 6 and 2 for each of six rows, five times over.
    assert sampled_tokens(MonteCarloRollouts(5, gap_tokens=4, nodes=0), load) == 5 * (3 * 10 + 6 * (6 + 2))
    assert sampled_tokens(MonteCarloRollouts(5, gap_tokens=4, nodes=2), load) == 5 * (3 * 10 + 6 * 6)
    assert sampled_tokens(MonteCarloRollouts(5, gap_tokens=4, nodes=1, first="siblings"), load) == 0
    assert cost(MonteCarloRollouts(), 40).sampled_tokens > 0 == cost(GroupMean()).sampled_tokens


def test_critics_that_count_cost_next_to_nothing_and_remember_what_they_say():
    assert cost(GroupMean()).share < 1e-3 and cost(GroupMean()).trained_parameters == 0
    few, many = (cost(HiddenNeighbors(window_tokens=window), 400).forward_gflop for window in (8, 4))
    assert many == pytest.approx(4 * few, rel=0.05)
    assert kept_bytes(BetaPosterior(tasks=1000)) == 60_000


def test_two_models_that_learn_from_pairs_are_read_whole_and_trained_whole():
    found, frozen = cost(PreferenceModels()), cost(PreferenceModels(teacher="a", anti_teacher="b"))
    once = forward_flop(SHAPE.parameters, SHAPE, 2 * 6 * 10, 10)
    assert found.forward_gflop == pytest.approx(2 * once / 1e9) and found.backward_gflop == pytest.approx(
        2 * once / 1e9
    )
    assert found.trained_parameters == found.held_parameters == 2 * SHAPE.parameters
    assert frozen.trained_parameters == 0 and frozen.held_parameters == 2 * SHAPE.parameters
    assert frozen.forward_gflop == pytest.approx(once / 1e9) and frozen.backward_gflop == 0 and frozen.known


def test_a_critic_that_writes_is_counted_by_its_states_and_statements():
    writer = GenerativeCritic(samples=2, states_per_answer=1, max_new_tokens=5, reading="sampled")
    found = cost(StatedValue(writer))
    # 3 prompts of 6 tokens and 6 answers of 10: 9 states, 18 statements of 5 tokens.
    read, written = 3 * 6 + 6 * 10, 18 * 5
    assert found.sampled_tokens == written and found.trained_parameters == SHAPE.parameters
    learned = forward_flop(SHAPE.parameters, SHAPE, 2 * read + written, 15)
    predicted = forward_flop(SHAPE.parameters, SHAPE, read + written, 15)
    assert found.forward_gflop == pytest.approx((predicted + learned) / 1e9)
    assert found.backward_gflop == pytest.approx(2 * learned / 1e9)
    assert cost(StatedValue(replace(writer, reading="expected"))).forward_gflop > found.forward_gflop


def test_random_games_are_counted_by_their_moves():
    few, many = (cost(SimulatorRollouts(rollouts=rollouts)) for rollouts in (10, 1000))
    assert many.known and many.forward_gflop == pytest.approx(100 * few.forward_gflop)
    assert few.forward_gflop == pytest.approx(100 * 6 * 4 * 10 * 4 / 2 / 1e9)


def test_a_critic_that_no_rule_knows_is_said_to_be_unknown():
    class Own(GroupMean):
        """A user's."""

    found = cost(Own())
    assert not found.known and "not known" in describe_cost(found)


def test_every_recipe_prints_its_critics_cost():
    for recipe in RECIPES.values():
        said = describe_cost(critic_cost(recipe, SHAPE, 20))
        assert "MiB" in said and "GFLOP" in said, recipe.name
