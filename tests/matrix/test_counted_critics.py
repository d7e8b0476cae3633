"""Every critic that counts converges to its named target as the group grows, at the rate of a mean."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from arrays import told_batch
from critica.critics.base import CriticContext, Remembering
from critica.critics.counted import GroupMean, LeaveOneOut
from critica.critics.fused_value import FusedValue
from critica.critics.hista import HiddenNeighbors
from critica.critics.numca import NumberSets
from critica.critics.posterior import BetaPosterior
from critica.critics.prompt_value import PromptValue
from critica.critics.tempo import PrefixTree
from critica.records.evidence import Evidence, Groups, HiddenStates
from critics.counted_worlds import Speller, groups_of, written
from exact_tables import DIGITS, uniform

SOLUTION = DIGITS.solve(uniform)
PROMPT = SOLUTION.value(())
FEW, MANY = 40, 640
TOLERANCE = 0.04  # half of what the two targets differ by


def neighbors(size):
    """As many neighbors as surely share a prefix of two tokens: a thirtieth of the group."""
    k = max(1, size // 30)
    return HiddenNeighbors(1, 1, 0.0, k, k)


@dataclass(frozen=True)
class Case:
    """A critic for a group of a size, what it converges to, and whether it learns from an earlier step."""

    part: object
    named: str
    earlier: bool = False


COUNTED = {
    "group_mean": Case(lambda size: GroupMean(), "prompt"),
    "leave_one_out": Case(lambda size: LeaveOneOut(), "prompt"),
    "beta_posterior": Case(lambda size: BetaPosterior(half_life_steps=float("inf")), "prompt", earlier=True),
    "prompt_value": Case(lambda size: PromptValue(half_life_steps=float("inf")), "prompt", earlier=True),
    "fused_value": Case(lambda size: FusedValue(), "prompt"),
    "prefix_tree": Case(lambda size: PrefixTree(), "prefix"),
    "number_sets": Case(lambda size: NumberSets(drop_last=False), "prefix"),
    "hidden_neighbors": Case(neighbors, "prefix"),
}


def sampled_group(size, seed=0):
    """Answers of the uniform policy to one prompt. Token 3 t + d says place and digit, so that a set is a prefix."""
    digits = np.random.default_rng(seed).integers(0, 3, (size, 3))
    batch = written([[3 * t + int(d) for t, d in enumerate(row)] for row in digits], [0] * size)
    told = told_batch(batch, [DIGITS.outcome(tuple(row)) for row in digits.tolist()])
    truth = torch.tensor(np.array([SOLUTION.values_along(tuple(row)) for row in digits.tolist()]))
    codes = [[sum((int(d) + 1) * 4**t for t, d in enumerate(row[:n])) for n in range(4)] for row in digits]
    states = torch.eye(4**3)[torch.tensor(codes) % 64]
    words = groups_of(batch, ["task"])[Groups]
    return batch, told, truth, Evidence(words, HiddenStates(states[:, :-1].flatten(0, 1), states[:, -1]))


def error_of(name, size, seed=0):
    """The root mean square error of the values before each token of the group."""
    case = COUNTED[name]
    batch, told, truth, evidence = sampled_group(size, seed)
    policy = Speller([f"{t}{d} " for t in range(3) for d in range(3)])
    critic = case.part(size).build(CriticContext(policy, 0, 0.0, 1.0))
    values = critic.predict(batch, told, evidence)
    if case.earlier:
        assert isinstance(critic, Remembering)
        critic.remember(batch, told)
        values = critic.predict(batch, told, evidence)
    assert bool(values.mask[:, 1:].all())
    wanted = truth if case.named == "prefix" else torch.full_like(truth, PROMPT)
    return float((values.mean[:, 1:] - wanted).square().mean().sqrt())


@pytest.mark.parametrize("name", COUNTED)
def test_a_group_of_many_tells_the_named_target_and_one_of_few_does_not(name):
    many = [error_of(name, MANY, seed) for seed in range(2)]
    assert max(many) < TOLERANCE, f"{name}: {many} at {MANY}"
    few = [error_of(name, FEW, seed) for seed in range(6)]
    assert sum(many) / 2 < 0.5 * sum(few) / 6  # a sixteenth of the samples: four times the error


def test_a_critic_of_the_wrong_target_would_fail():
    truth = sampled_group(MANY)[2]
    assert float((truth - PROMPT).square().mean().sqrt()) > 2 * TOLERANCE
