"""What must hold of the loss in my_objective.py: pytest test_my_objective.py"""

from pathlib import Path

import critica
import pytest
import torch
from critica.objectives.base import TokenScores
from critica.records.evidence import Evidence
from my_objective import MyObjective

FILE = Path(__file__).with_name("my_objective.py")
SMALL = ["sampling.prompts_per_step=4", "sampling.samples_per_prompt=8", "learner.policy_epochs=2"]


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    """One step of a run with this objective, and its folder."""
    seen = []
    recipe = critica.recipe("grpo", f"objective={FILE}:MyObjective", *SMALL, steps=1, seed=1)
    result = critica.train(recipe, tmp_path_factory.mktemp("own") / "run", listeners=[seen.append])
    return seen[0], critica.RunFolder.open(result.run)


def test_a_run_learns_by_it(step):
    (line,) = step[1].metrics()
    assert line["loss/policy"] is not None and line["policy/grad_norm"] > 0


def test_it_is_a_policy_gradient_at_the_start_and_bounded_far_away(step):
    record, _ = step
    start = record.batch.behavior_logprobs
    advantage, mask = record.credit.advantage, record.credit.mask
    assert (advantage[mask] > 0).any() and (advantage[mask] < 0).any()
    for moved, slope in ((0.0, 1.0), (0.2, 0.419974), (-0.2, 0.419974), (5.0, 0.0)):  # 1 - tanh(1)^2 = 0.419974
        policy = (start + moved).requires_grad_()
        scores = TokenScores(policy, start, torch.zeros_like(start))
        ((term,), _) = MyObjective(width=0.2).terms(scores, record.batch, record.credit, Evidence(), record.told)
        (gradient,) = torch.autograd.grad(term.values[mask].sum(), policy)
        assert torch.allclose(gradient[mask], -slope * advantage[mask], atol=1e-4)
        assert (term.values[mask].abs() <= 0.2 * advantage[mask].abs() + 1e-6).all()


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="width"):
        MyObjective(width=0.0)
