"""A policy that is a table over the prefixes of a small game, and a loop of the loop's own verbs around it."""

import copy
import itertools
from dataclasses import replace

import torch
from torch import nn

from arrays import token_batch, told_batch
from critica.critics.base import CriticContext, Teaching
from critica.curricula.base import Budget
from critica.environments.digit_sum import DigitSum
from critica.policies.base import SampleLimits
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.observe import Observer
from critica.training.optimizer import Optimizer
from critica.updaters.gradient import Adam
from fakes import BigramPolicy

LETTERS, LENGTH = 3, 4
PREFIXES = [p for n in range(LENGTH + 1) for p in itertools.product(range(LETTERS), repeat=n)]
PLACE = {prefix: i for i, prefix in enumerate(PREFIXES)}
ANSWERS = list(itertools.product(range(LETTERS), repeat=LENGTH))


class TablePolicy(BigramPolicy):
    """States are one-hot prefixes, logits a table of them: every policy of the game is in reach."""

    def __init__(self) -> None:
        super().__init__(LETTERS, dtype=torch.float32)
        self.width = len(PREFIXES)
        self.model = nn.Linear(len(PREFIXES), LETTERS, bias=False)
        nn.init.zeros_(self.model.weight)

    def states_after(self, rows):
        places = torch.tensor([[PLACE[tuple(row[:t])] for t in range(LENGTH + 1)] for row in rows])
        return nn.functional.one_hot(places, len(PREFIXES)).float()

    def sampled_and_final_states(self, batch):
        states = self.states_after(batch.token_ids[:, 1:].tolist())
        return states[:, :-1].flatten(0, 1), states[:, -1]

    def sampled_states(self, batch):
        return self.sampled_and_final_states(batch)[0]

    def logits(self, states):
        return self.model(states)

    def trainable(self):
        return self.model.named_parameters()

    def frozen_copy(self):
        made = copy.deepcopy(self)
        made.model.requires_grad_(False)
        return made

    def chances(self):
        """The probability of each whole answer, exactly."""
        logs = torch.log_softmax(self.model.weight.detach().T, -1)
        return torch.tensor([sum(logs[PLACE[a[:t]], a[t]] for t in range(LENGTH)) for a in ANSWERS]).exp()

    def draw(self, count, generator):
        return [ANSWERS[i] for i in torch.multinomial(self.chances(), count, True, generator=generator).tolist()]


def game(seed):
    """Right is an answer whose letters sum to a target's residue and whose first letter is not the wrong one."""
    target, wrong = seed % 4, seed % LETTERS
    return {a: float(sum(a) % 4 == target and a[0] != wrong) for a in ANSWERS}


def worth(policy, outcome):
    """The exact mean outcome of the policy."""
    return float((policy.chances() * torch.tensor([outcome[a] for a in ANSWERS])).sum())


def written(policy, outcome, rows, generator):
    """Answers to the one prompt, as the sampler would hand them over, and what was told of them."""
    answers = policy.draw(rows, generator)
    batch = token_batch(["c" + "s" * LENGTH] * rows, [0] * rows)
    batch = replace(batch, token_ids=torch.tensor([(0, *answer) for answer in answers]))
    logs = torch.log_softmax(policy.logits(policy.sampled_states(batch)), -1).detach()
    chosen = logs.gather(1, batch.token_ids[:, 1:].reshape(-1, 1)).reshape(rows, LENGTH)
    batch = replace(batch, behavior_logprobs=torch.cat((torch.zeros(rows, 1), chosen), -1))
    return batch, told_batch(batch, [outcome[answer] for answer in answers])


def play(recipe, seed, steps, warmup, policy_rate=0.05, critic_rate=0.05, rows=16):
    """Train by the recipe's own critic, target, advantage, objective and stages; the exact worth after each step."""
    policy, outcome, generator = TablePolicy(), game(seed), torch.Generator().manual_seed(seed)
    critic = recipe.critic.build(CriticContext(policy, seed, 0.0, 1.0))
    views = critic.views if isinstance(critic, Teaching) else ()
    observer = Observer(policy, recipe.objective.needs | critic.needs, 2**20, None, views)
    optimizers = (
        Optimizer(policy.trainable(), Adam(policy_rate, max_grad_norm=0.0)),
        Optimizer(critic.trainable(), Adam(critic_rate, max_grad_norm=0.0)),
    )
    learner = Learner(policy, critic, recipe.objective, optimizers, Schedule(1, 1, 1, 2**20), seed)
    stages = recipe.curriculum.build(DigitSum().build(0), Budget(1, rows, SampleLimits(LENGTH), warmup, True))
    found = [worth(policy, outcome)]
    for step in range(1, steps + 1):
        batch, told = written(policy, outcome, rows, generator)
        evidence = observer.observe((), batch)
        values = critic.predict(batch, told, evidence)
        credit = recipe.advantage.estimate(batch, told, values, evidence)
        targets = recipe.target.build(batch, told, values)
        learner.update(Lesson(batch, told, credit, targets, values, evidence), stages.next(step).stage, step)
        found.append(worth(policy, outcome))
    return policy, critic, found
