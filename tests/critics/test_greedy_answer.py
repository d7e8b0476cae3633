"""ReMax's baseline through the real continuer: the policy's own greedy answer, once a prompt, told as training is."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from critica.critics.greedy_answer import GreedyAnswer, GreedyAnswerCritic
from critica.records.evidence import Continuations, Evidence
from critica.records.supervision import Failed, Scored
from critica.rewards.base import FailurePolicy
from critica.training.critic_cost import Workload, sampled_tokens
from critics.continued_worlds import BASE, LENGTH, Digits, Scorer, world


@dataclass
class Peaked(Digits):
    """Its likeliest digit is one more than the last."""

    seed: int = 0
    asked: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__(self.seed)

    def sample(self, requests, limits, seed, control=None, ended=None):
        if limits.temperature:
            return super().sample(requests, limits, seed, control, ended)
        self.asked += [request.prompt_ids for request in requests]
        made = super().sample(requests, limits, seed, control, ended)
        return [
            [replace(one, token_ids=tuple((request.prompt_ids[-1] + 1 + t) % BASE for t in range(LENGTH)))
             for one in row]
            for request, row in zip(requests, made, strict=True)
        ]  # fmt: skip


def greedy_world(**how):
    made = world(**how)
    policy = Peaked()
    return replace(made, policy=policy)


def predicted(made, told, **how):
    critic = GreedyAnswerCritic()
    assert critic.needs == {Continuations}
    return critic.predict(made.batch, told, Evidence(Continuations(made.continuer(**how))))


def test_it_is_what_the_greedy_answer_is_told_once_a_prompt():
    made = greedy_world(prompts=2, samples=3)
    told = made.told([Scored(0.0)] * made.batch.rows)
    said = Scorer(made.environment, rule=lambda text: Scored(0.125 * float(text[0])))
    values = predicted(made, told, source=said)
    ends = [made.prompt_end(row) for row in range(made.batch.rows)]
    due = torch.tensor([0.125 * ((end + 1) % BASE) for end in ends])
    assert torch.equal(values.mask, made.batch.sampled_mask)
    for row in range(made.batch.rows):
        assert set(values.mean[row][made.batch.sampled_mask[row]].tolist()) == {float(due[row])}
    assert len(said.asked) == 2 and len(made.policy.asked) == 2  # not once a sample
    expected = "".join(str((ends[0] + 1 + t) % BASE) for t in range(LENGTH))
    assert said.asked[0].text.endswith(expected)
    assert said.asked[0].trajectory_id.endswith("@0.greedy")
    assert values.uses_own_outcome is values.uses_siblings is False


def test_sampled_continuations_of_the_same_state_stay_apart():
    made = greedy_world(prompts=1, samples=2)
    live = made.continuer(source=Scorer(made.environment, rule=lambda text: Scored(float(text[-1]))))
    greedy = live.outcomes([(0, 0), (1, 0)], 1, greedy=True)
    sampled = live.outcomes([(0, 0)], 4)
    assert greedy.shape == (2, 1) and greedy[0] == greedy[1] and sampled.shape == (1, 4)
    assert live.outcomes([(0, 0)], 1, greedy=True) == greedy[0]
    assert len(made.policy.asked) == 1
    with pytest.raises(ValueError, match="one greedy continuation"):
        live.outcomes([(0, 0)], 2, greedy=True)


def test_a_failed_verdict_silences_its_prompt_alone():
    made = greedy_world(prompts=2, samples=2)
    told = made.told([Scored(1.0)] * made.batch.rows)
    asked = []

    def rule(text):
        asked.append(text)
        return Failed("hung") if len(asked) == 1 else Scored(0.5)

    values = predicted(
        made, told, source=Scorer(made.environment, rule=rule), failures=FailurePolicy(max_share=1.0)
    )  # fmt: skip
    rows = values.mask.any(-1).tolist()
    assert rows == [False, False, True, True]
    assert np.isclose(values.mean[2:][values.mask[2:]].numpy(), 0.5).all()


def test_it_costs_one_answer_a_prompt():
    load = Workload(prompts=16, samples=8, prompt_tokens=20, answer_tokens=10)
    assert sampled_tokens(GreedyAnswer(), load) == 160
