"""Digit games played by a policy whose law is known: answers, continuations of them, and the truth."""

from dataclasses import dataclass, field

import numpy as np
import torch

from critica.curricula.base import Request, Stage
from critica.environments.digit_sum import DigitSumGame
from critica.environments.exact import GameEnvironment
from critica.policies.base import SampleLimits
from critica.records.arrays import TokenBatch
from critica.records.supervision import Scored
from critica.records.words import Group
from critica.rewards.noise import NoNoise
from critica.rollout.continuations import Continuer
from critica.rollout.gather import Supervision
from critica.rollout.place import Placement, SoftOverlong, place
from critica.rollout.samples import collect
from critica.rollout.tokenize import tokenize
from fakes import BigramPolicy

BASE, LENGTH = 3, 4
GAME = DigitSumGame(offset=0, length=LENGTH, target=4, base=BASE)


class Digits(BigramPolicy):
    """Writes digits; the next one depends on the last."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(vocabulary=BASE, seed=seed)

    def decode_text(self, token_ids):
        return "".join(str(int(i)) for i in token_ids)

    def token_texts(self, batch):
        rows = zip(batch.token_ids.tolist(), batch.lengths.tolist(), strict=True)
        return tuple(tuple(str(token) for token in row[:length]) for row, length in rows)

    @torch.no_grad()
    def law(self, last: int) -> np.ndarray:
        return torch.softmax(self.model["head"](self.model["embed"](torch.tensor(last))), -1).numpy()


@dataclass
class Scorer:
    """The environment's own score; counts what it is asked. `rule` may say something else about a text."""

    environment: GameEnvironment
    rule: object = None
    name: str = "scorer"
    low: float = 0.0
    high: float = 1.0
    busy_workers: int = 0
    waiting_for: str = ""
    warnings: tuple[str, ...] = ()
    asked: list = field(default_factory=list)

    def scores(self, items):
        self.asked += items
        return [
            self.rule(item.text) if self.rule else Scored(self.environment.score(item.task, item.text))
            for item in items
        ]

    def close(self) -> None:
        return None


@dataclass
class World:
    """A step's answers, and what is needed to go on from them."""

    policy: Digits
    environment: GameEnvironment
    request: Request
    groups: tuple[Group, ...]
    batch: TokenBatch

    def continuer(self, source=None, noise=None, overlong=None, **more) -> Continuer:
        supervision = Supervision(source or Scorer(self.environment), noise or NoNoise(), 5, **more)
        return Continuer(self.policy, supervision, self.request, overlong or SoftOverlong(), self.groups, self.batch)

    def prompt_end(self, row: int) -> int:
        return int(self.batch.token_ids[row, int(self.batch.prefix_length[row]) - 1])

    def written(self, row: int) -> tuple[int, ...]:
        return tuple(self.batch.token_ids[row][self.batch.sampled_mask[row]].tolist())

    def truth(self, row: int):
        """The exact laws after every prefix of this row's game, for the policy's own play."""

        def probs(prefix):
            return self.policy.law(prefix[-1] if prefix else self.prompt_end(row))

        return GAME.solve(probs, look=lambda prefix: prefix[-1:])

    def told(self, outcomes):
        from critica.records.evidence import Evidence
        from critica.records.supervision import Reward

        rewards = tuple(
            Reward("scorer", name, outcome) for name, outcome in zip(self.batch.trajectory_ids, outcomes, strict=True)
        )
        return place(rewards, self.batch, Evidence(), Placement(), Scorer(self.environment))


def world(prompts: int = 2, samples: int = 6, step: int = 1, seed: int = 0) -> World:
    policy = Digits(seed)
    environment = GameEnvironment("digits", 0, lambda index: GAME, DigitSumGame, LENGTH)
    request = Request(step, prompts, samples, SampleLimits(LENGTH, 1.0), Stage("train", policy=True, critic=True))
    tasks = tuple(environment.candidate(index) for index in range(prompts))
    groups = tuple(collect(policy, tasks, request, 5, 0))
    return World(policy, environment, request, groups, tokenize(groups))
