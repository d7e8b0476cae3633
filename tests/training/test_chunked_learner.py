"""The learner's update is the same whether log-probs come whole or by chunks; a view costs one forward, no model."""

import pytest
import torch
from safetensors.torch import load_file

from critica.functional import head
from critica.policies.language_model import LanguagePolicy
from critica.recipes.catalogue import RECIPES
from critica.records.evidence import Views
from critica.records.views import AnotherContext, AnotherLayer
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.tokenize import tokenize
from critica.training.observe import Observer
from critica.training.run import train


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_a_run_by_chunks_ends_where_a_run_at_once_ends(small, tmp_path, monkeypatch, name):
    recipe = small(name, steps=2)
    train(recipe, tmp_path / "whole")
    monkeypatch.setattr(head, "ENTRIES", 258 * 4)
    monkeypatch.setattr(head, "LEAST_TOKENS", 1)
    train(recipe, tmp_path / "chunks")
    ends = [load_file(tmp_path / run / "checkpoints/step_2/policy/model.safetensors") for run in ("whole", "chunks")]
    starts = load_file(tmp_path / "whole/checkpoints/step_0/policy/model.safetensors")
    for key, weight in ends[0].items():
        torch.testing.assert_close(ends[1][key], weight, atol=2e-4, rtol=0)  # Adam divides rounding by itself
    assert any(float((ends[0][key] - starts[key]).abs().max()) > 2e-3 for key in starts)


def group_of(policy, task_id, answers):
    task = Task(task_id, "", (Message("user", f"question {task_id}"),), "")
    context = ContextTurn(task.messages[-1], policy.encode(task.messages))
    rows = []
    for i, answer in enumerate(answers):
        ids = policy.encode_text(answer)
        turn = SampledTurn(Message("assistant", answer), ids, (-1.0,) * len(ids), 1.0, 0)
        name = f"1.{task_id}.{i}"
        rows.append(Trajectory(name, name, task_id, f"1.{task_id}", "policy", (context, turn), StopReason.ANSWERED))
    return Group(f"1.{task_id}", task, tuple(rows))


def test_each_view_costs_one_forward_and_no_second_model(tiny_folder, monkeypatch):
    policy = LanguagePolicy.load(str(tiny_folder))
    groups = tuple(group_of(policy, str(i), ("abc", "de")) for i in range(3))
    calls, copies = [], []
    for name in ("sampled_states", "layer_states", "sampled_and_final_states", "sampled_and_inner_states"):
        real = getattr(LanguagePolicy, name)
        monkeypatch.setattr(
            LanguagePolicy, name, lambda self, *given, real=real, name=name: calls.append(name) or real(self, *given)
        )
    real_copy = LanguagePolicy.frozen_copy
    monkeypatch.setattr(LanguagePolicy, "frozen_copy", lambda self: copies.append(1) or real_copy(self))
    views = (AnotherContext("empty", empty=True, instruction="write"), AnotherLayer("half", 0.5))
    for count in range(3):
        calls.clear()
        observer = Observer(policy, frozenset(), 10_000, views=views[:count])
        observer.observe(groups, tokenize(groups))
        assert len(calls) == count and not copies


def test_the_frozen_reference_is_one_copy_and_one_forward(tiny_folder, monkeypatch, tmp_path):
    copies = []
    real_copy = LanguagePolicy.frozen_copy
    monkeypatch.setattr(LanguagePolicy, "frozen_copy", lambda self: copies.append(1) or real_copy(self))
    policy = LanguagePolicy.load(str(tiny_folder))
    observer = Observer(policy, frozenset(), 10_000, views=RECIPES["eksft"].objective.views)
    groups = (group_of(policy, "1", ("abc",)),)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.1)
    batch = tokenize(groups)

    view = observer.observe(groups, batch)[Views]["reference"]
    start = LanguagePolicy.load(str(tiny_folder))
    with torch.no_grad():
        torch.testing.assert_close(view.states, start.sampled_states(batch))
        torch.testing.assert_close(view.logits(batch.sampled_mask), start.logits(start.sampled_states(batch)))
    assert copies == [1]
