"""Test-time training: learned before the answer, forgotten after it to the last bit, and never taught the question."""

from dataclasses import replace

import pytest
import torch

from critica.curricula.ladder import tree
from critica.environments.arithmetic import Arithmetic
from critica.environments.base import EnvironmentProblem
from critica.environments.digit_sum import DigitSum
from critica.policies.base import SampleLimits, SampleRequest
from critica.policies.part import LocalPolicy
from critica.recipes.base import Sampling
from critica.recipes.catalogue import RECIPES
from critica.rewards.verifiers import Function
from critica.training import test_time
from critica.training.assemble import assemble
from critica.training.test_time import ScopedPolicy, ScopedTraining, scoped
from critica.updaters.gradient import Adam

LIMITS = SampleLimits(6)
PART = ScopedTraining(steps=2, depth=1, branching=2)


@pytest.fixture
def made(tiny_folder):
    def make(name="ladder", **changes):
        recipe = RECIPES[name]
        learner = replace(recipe.learner, policy=Adam(3e-3), critic=Adam(3e-3), tokens_per_microbatch=256)
        recipe = replace(
            recipe, policy=LocalPolicy(str(tiny_folder)), environment=Arithmetic(difficulty=5), learner=learner,
            sampling=Sampling(2, 4, 1.0, 6), threads=1, seed=2, protocol=RECIPES["ladder"].protocol,
        )  # fmt: skip
        recipe = replace(recipe, **changes)
        return recipe, assemble(recipe)

    return make


def bits(assembly):
    """Everything that training moves: weights, moments, memories."""
    tensors = {name: weight.detach().clone() for name, weight in assembly.state.policy.trainable()}
    for number, optimizer in enumerate(o for o in assembly.state.optimizers if o is not None):
        tensors |= {f"{number}.{name}": value.clone() for name, value in optimizer.tensors().items()}
    return tensors


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["ladder", "ppo"])
def test_what_was_learned_for_a_question_is_forgotten_to_the_last_bit(made, name, monkeypatch, tmp_path):
    (tmp_path / "odd.py").write_text("def score(task, completion):\n    return float(len(completion) % 2)\n")
    recipe, assembly = made(name, reward=Function(f"{tmp_path}/odd.py:score"))  # a random policy earns some
    tasks = assembly.environment.held_out(2)
    policy = ScopedPolicy(assembly, recipe, tasks, PART, LIMITS)
    before, inside = bits(assembly), []
    inner = policy.inner.sample

    def watched(requests, limits, seed, *more):
        if limits.max_new_tokens == 5:
            inside.append(bits(assembly))
        return inner(requests, limits, seed, *more)

    monkeypatch.setattr(policy.inner, "sample", watched)
    asked = [SampleRequest(policy.encode(task.messages), ((7, i),)) for i, task in enumerate(tasks)]
    first = policy.sample(asked, SampleLimits(5), 0)
    assert same(bits(assembly), before) and policy.trained == 2
    assert len(inside) == 2 and not any(same(one, before) for one in inside) and not same(*inside)
    assert policy.sample(asked[1:], SampleLimits(5), 0) == first[1:]  # whatever was asked before it
    assembly.close()


def test_an_error_inside_leaves_nothing_behind_either(made):
    _, assembly = made()
    before = bits(assembly)
    with pytest.raises(RuntimeError, match="stop"), scoped(assembly):
        for _, weight in assembly.state.policy.trainable():
            weight.data.add_(1.0)
        assert not same(bits(assembly), before)
        raise RuntimeError("stop")
    assert same(bits(assembly), before)
    assembly.close()


def test_only_variants_are_learned_from_the_deepest_first(made, monkeypatch):
    recipe, assembly = made()
    deep = [task for task in assembly.environment.held_out(20) if len(tree(assembly.environment, task, 2, 2)) > 4]
    task = deep[0]
    drawn = []
    plain = test_time.learn

    def watched(assembly, recipe, rungs, *more):
        seen = rungs.draw
        rungs.draw = lambda count: drawn.extend(seen(count)) or tuple(drawn[-count:])
        try:
            plain(assembly, recipe, rungs, *more)
        finally:
            rungs.draw = seen

    monkeypatch.setattr(test_time, "learn", watched)
    part = ScopedTraining(steps=3, depth=2, branching=2)
    policy = ScopedPolicy(assembly, recipe, [task], part, LIMITS)
    policy.sample([SampleRequest(policy.encode(task.messages), ((0, 0),))], SampleLimits(2), 0)
    assert len(drawn) == 6 and len({one.task_id for one in drawn}) == 6
    assert all(one.messages != task.messages and one.task_id.startswith(f"{task.task_id}~") for one in drawn)
    depths = [one.task_id.count("~") for one in drawn]
    turns = [int(one.task_id.rpartition("#")[2]) for one in drawn]
    assert turns == sorted(turns) and max(depths) == 2 and turns.count(0) > 3
    first = [depth for depth, turn in zip(depths, turns, strict=True) if turn == 0]
    assert first == sorted(first, reverse=True)
    assembly.close()


def test_environments_without_variants_and_no_steps_are_refused(made):
    recipe, assembly = made("grpo", environment=DigitSum())
    with pytest.raises(EnvironmentProblem, match="arithmetic"):
        ScopedPolicy(assembly, recipe, assembly.environment.held_out(1), PART, LIMITS)
    assembly.close()
    with pytest.raises(ValueError, match="1 step"):
        ScopedTraining(steps=0)
