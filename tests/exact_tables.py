"""Token games written out in full: every sequence once, its exact values and laws, and states that tell them apart."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from arrays import token_batch, told_batch
from critica.critics.base import CriticContext, Remembering
from critica.environments.digit_sum import DigitSumGame
from critica.environments.exact import Solution, TokenGame
from critica.environments.two_branch import TwoBranchGame
from critica.records.evidence import Evidence, HiddenStates
from fakes import BigramPolicy

DIGITS = DigitSumGame(offset=0, length=3, target=3, base=3)
BRANCH = TwoBranchGame(length=4, decisive=1, winning="b", letters="abc")


def uniform(prefix, size=3):
    """The policy that writes any of three tokens alike."""
    return np.full(size, 1 / size)


@dataclass(frozen=True)
class Table:
    """Every sequence of a game once: under the uniform policy, the exact law of what a policy would sample."""

    game: TokenGame
    solution: Solution
    sequences: list
    batch: object
    told: object
    evidence: Evidence
    width: int

    def truth(self):
        """V of the prefix before each token."""
        return torch.tensor(np.array([self.solution.values_along(s) for s in self.sequences]), dtype=torch.float32)

    def laws(self, count):
        """`count` midpoint quantiles of the return's law before each token."""
        levels = (np.arange(count) + 0.5) / count
        return torch.tensor(
            [[[self.solution.law(s[:t]).quantile(u) for u in levels] for t in range(len(s))] for s in self.sequences],
            dtype=torch.float32,
        )


def table(game):
    """States are one-hot codes of (how far, what matters): a tabular critic."""
    sequences = list(game.ends())
    length = len(sequences[0])
    batch = token_batch(["c" + "s" * length] * len(sequences), [0] * len(sequences))
    batch = replace(batch, token_ids=torch.tensor([(0, *sequence) for sequence in sequences]))
    keys = {}
    codes = [[keys.setdefault((t, game.state(s[:t])), len(keys)) for t in range(length + 1)] for s in sequences]
    eye = torch.eye(len(keys)) * 2
    states = eye[torch.tensor([code[:-1] for code in codes])].flatten(0, 1)
    evidence = Evidence(HiddenStates(states, eye[torch.tensor([code[-1] for code in codes])]))
    told = told_batch(batch, [game.outcome(s) for s in sequences])
    return Table(game, game.solve(uniform), sequences, batch, told, evidence, len(keys))


def taught(part, target, game=DIGITS, steps=300, rate=0.05):
    """Train the head by the loop's own verbs; returns the table and the last prediction."""
    made = table(game)
    policy = BigramPolicy(len(game.vocabulary), made.width, dtype=torch.float32)
    torch.nn.init.zeros_(policy.model["head"].weight)  # the uniform policy
    torch.nn.init.zeros_(policy.model["head"].bias)
    critic = part.build(CriticContext(policy, 3, 0.0, 1.0))
    adam = torch.optim.Adam([weight for _, weight in critic.trainable()], lr=rate)
    fading = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, steps)
    torch.manual_seed(0)
    for _ in range(steps):
        values = critic.predict(made.batch, made.told, made.evidence)
        targets = target.build(made.batch, made.told, values)
        terms = critic.loss(made.evidence[HiddenStates].states, made.batch, targets, values)
        loss = sum(term.weight * term.values[term.mask].sum() / targets.mask.sum() for term in terms)
        adam.zero_grad()
        loss.backward()
        adam.step()
        fading.step()
        if isinstance(critic, Remembering):
            critic.remember(made.batch, made.told)
    return made, critic.predict(made.batch, made.told, made.evidence)


def learned(made, values):
    """The values before each sampled token."""
    return values.mean[:, 1:]
