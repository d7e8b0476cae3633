"""The layer penalty on a real two-layer model: what it reads, whom its gradient reaches, and where it ends."""

import math
from dataclasses import replace

import pytest
import torch

from arrays import told_batch
from critica.advantages.outcome import Outcome
from critica.critics.counted import NoBaselineCritic
from critica.curricula.base import Stage
from critica.functional.distillation import divergence
from critica.objectives.alone import Alone
from critica.objectives.base import InnerStates, TokenScores
from critica.objectives.layer_distillation import LayerDistillation
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.policies.language_model import LanguagePolicy
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence, HiddenStates
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.observe import Observer
from critica.training.optimizer import Optimizer
from critica.updaters.gradient import Adam
from policies.policies_fixtures import ragged_batch, tiny_model

TRAIN = Stage("train", policy=True, critic=False)


def policy_of(**more):
    return LanguagePolicy(tiny_model("qwen3", tied=False, **more), None)


def credit_of(batch, sign):
    mask = batch.sampled_mask
    return Advantages(sign * mask.float(), mask, torch.zeros(batch.rows, dtype=torch.bool), "by hand")


def measured(policy, batch, part, sign=1.0):
    """The penalty's values as the learner would show it the scores."""
    states, (inner,) = policy.sampled_and_inner_states(batch, (part.depth,))
    grid = torch.zeros(batch.token_ids.shape)
    shown = {part.depth: InnerStates(inner, states.detach(), policy.logits)}
    scores = TokenScores(grid, grid, grid, shown)
    return part.measured(scores, batch, credit_of(batch, sign), Evidence())


def test_inner_states_are_the_models_own_and_the_top_is_untouched():
    policy, batch = policy_of(), ragged_batch()
    states, (first, last) = policy.sampled_and_inner_states(batch, (0.5, 1.0))
    assert torch.equal(states, policy.sampled_states(batch)) and torch.equal(last, states)
    torch.testing.assert_close(first, policy.layer_states(batch, 0.5), atol=1e-6, rtol=0)
    at = 0
    for n in range(batch.rows):
        with torch.no_grad():
            hidden = policy.model(batch.token_ids[n : n + 1, : batch.lengths[n]], output_hidden_states=True)
            normed = policy.model.model.norm(hidden.hidden_states[1])[0]
        places = batch.sampled_mask[n].nonzero().squeeze(-1) - 1
        torch.testing.assert_close(first[at : at + len(places)], normed[places], atol=1e-4, rtol=0)
        at += len(places)


def test_the_last_layer_has_nothing_to_learn_from_itself():
    policy, batch = policy_of(), ragged_batch()
    values, (metric,) = measured(policy, batch, LayerDistillation(depth=1.0))
    values.sum().backward()
    assert values.abs().max() < 1e-6 and abs(metric.value) < 1e-6
    assert all(p.grad is None or p.grad.abs().max() < 1e-6 for _, p in policy.trainable())


def test_the_gradient_reaches_what_is_below_and_nothing_above():
    policy, batch = policy_of(), ragged_batch()
    values, _ = measured(policy, batch, LayerDistillation(depth=0.5))
    values.sum().backward()
    grads = {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in policy.trainable()}
    below = [name for name in grads if name.startswith(("model.layers.0.", "model.embed_tokens"))]
    above = [name for name in grads if name not in below]
    assert {"lm_head.weight", "model.norm.weight", "model.layers.1.mlp.up_proj.weight"} <= set(above)
    assert all(grads[name] > 0 for name in below) and not any(grads[name] for name in above)


def test_values_are_the_signed_divergence_cut_where_credit_is_large():
    policy, batch = policy_of(), ragged_batch()
    states, (inner,) = policy.sampled_and_inner_states(batch, (0.5,))
    apart = divergence(policy.logits(inner), policy.logits(states), "jsd")
    for sign, factor in ((0.5, 0.5), (-0.5, -0.5), (7.0, 2.0), (-7.0, -2.0)):
        values, (metric,) = measured(policy, batch, LayerDistillation(depth=0.5), sign)
        torch.testing.assert_close(values[batch.sampled_mask], factor * apart, atol=1e-6, rtol=1e-5)
        assert metric.value == pytest.approx(float(apart.detach().mean()), rel=1e-5)


def learned(objective, tokens=10_000, sign=None, critic_reads=False):
    """The policy's weights after two steps of Adam."""
    policy, batch = policy_of(), ragged_batch()
    batch = replace(batch, behavior_logprobs=torch.where(batch.sampled_mask, -1.0, 0.0))
    told = told_batch(batch, [float(n % 2) for n in range(batch.rows)])
    observer = Observer(policy, objective.needs | ({HiddenStates} if critic_reads else frozenset()), tokens)
    observer.kept.tokens = tokens if critic_reads else 0
    learner = Learner(
        policy, NoBaselineCritic(), objective, (Optimizer(policy.trainable(), Adam(1e-2)), None),
        Schedule(1, 1, 1, tokens), 0, observer.kept,
    )  # fmt: skip
    for step in (1, 2):
        evidence = observer.observe((), batch)
        values = NoBaselineCritic().predict(batch, told, evidence)
        credit = Outcome("none").estimate(batch, told, values, evidence) if sign is None else credit_of(batch, sign)
        learner.update(Lesson(batch, told, credit, None, values, evidence), TRAIN, step)
    return {name: weight.detach().clone() for name, weight in policy.trainable()}


def test_weight_zero_is_the_objective_without_it_to_the_bit():
    bare = learned(PolicyLoss(PolicyGradient()))
    zero = learned(PolicyLoss(PolicyGradient(), penalties=(LayerDistillation(0.0, 0.5),)))
    assert all(torch.equal(bare[name], zero[name]) for name in bare)
    some = learned(PolicyLoss(PolicyGradient(), penalties=(LayerDistillation(1.0, 0.5),)))
    assert not torch.equal(bare["model.embed_tokens.weight"], some["model.embed_tokens.weight"])


def test_cutting_the_batch_and_a_kept_forward_pass_change_nothing():
    objective = PolicyLoss(PolicyGradient(), penalties=(LayerDistillation(1.0, 0.5),))
    whole = learned(objective)
    for other in (learned(objective, tokens=12), learned(objective, critic_reads=True)):
        for name, value in whole.items():
            torch.testing.assert_close(other[name], value, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("sign", "end"), [(1.0, (0.0, 0.06)), (-1.0, (0.45, math.log(2) + 1e-6))])
def test_a_layer_meets_a_fixed_final_law_or_runs_as_far_as_there_is_room(sign, end):
    policy, batch, part = policy_of(), ragged_batch(), LayerDistillation(depth=0.5)
    final = policy.sampled_states(batch).detach()
    below = [p for name, p in policy.trainable() if name.startswith(("model.layers.0.", "model.embed"))]
    adam, grid, found = torch.optim.Adam(below, 2e-2), torch.zeros(batch.token_ids.shape), []
    for _ in range(200):
        inner = policy.sampled_and_inner_states(batch, (0.5,))[1][0]
        shown = {0.5: InnerStates(inner, final, policy.logits)}
        scores = TokenScores(grid, grid, grid, shown)
        values, (metric,) = part.measured(scores, batch, credit_of(batch, sign), Evidence())
        found.append(metric.value)
        adam.zero_grad()
        values.sum().backward()
        adam.step()
    assert max(found) <= math.log(2) + 1e-6
    assert end[0] <= found[-1] <= end[1] and sign * (found[0] - found[-1]) > 0.1


def test_what_cannot_be_weighed_or_reached_is_refused():
    for wrong in (dict(weight=-1.0), dict(largest_advantage=0.0), dict(depth=0.0), dict(depth=1.01)):
        with pytest.raises(ValueError, match=r"at least 0|share of the model's layers"):
            LayerDistillation(**wrong)
    assert Alone(LayerDistillation(depth=0.5)).depths == (0.5,)


def test_a_model_whose_layers_cannot_be_read_says_so():
    with pytest.warns(UserWarning):
        policy = LanguagePolicy(tiny_model("gpt2"), None)
    with pytest.raises(ValueError, match="inner layers cannot be read"):
        policy.sampled_and_inner_states(ragged_batch(), (0.5,))
