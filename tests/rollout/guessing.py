"""Policies and sources for tests of episodes: a guesser that reads what was said, and a judge that is told the rule."""

from dataclasses import dataclass, field

import torch

from critica.curricula.base import Budget, Request, Stage
from critica.curricula.stream import Stream
from critica.environments.guess import Guess
from critica.functional.random import uniforms
from critica.policies.base import Sample, SampleLimits
from critica.records.supervision import Outcome, Scored
from critica.records.words import StopReason
from critica.rewards.noise import NoNoise
from critica.rollout.gather import Supervision
from fakes import BigramPolicy

TRAIN = Stage("train", True, True)
LETTERS = [chr(i) for i in range(32, 127)] + ["\n"]
NUMBER = {letter: i for i, letter in enumerate(LETTERS)}


class Guesser(BigramPolicy):
    """Writes one digit a turn: any that it has not written yet (or any at all), each as likely as the others."""

    def __init__(self, choices=4, repeats=False, context_length=10_000):
        super().__init__(len(LETTERS))
        self.choices, self.repeats, self.context_length = choices, repeats, context_length
        self.calls = []

    def encode(self, messages):
        return tuple(NUMBER[letter] for letter in "\n".join(m.content for m in messages))

    def encode_text(self, text):
        return tuple(NUMBER[letter] for letter in text)

    def encode_followup(self, message, written):
        return self.encode_text("\n" + message.content)

    def decode_text(self, token_ids):
        return "".join(LETTERS[i] for i in token_ids)

    def options(self, ids):
        """The digits that may come next: those not yet written as whole turns after the prompt."""
        text = self.decode_text(ids)
        said = [part[0] for part in text.split(": ")[1:] if part]
        digits = "123456789"[: self.choices]
        return digits if self.repeats else [d for d in digits if d not in said] or digits

    def sample(self, requests, limits, seed, control=None, ended=None):
        self.calls.append([(request.prompt_ids, request.streams) for request in requests])
        made = []
        for request in requests:
            left = self.options(request.prompt_ids)
            row = []
            for stream in request.streams:
                pick = left[int(uniforms(seed, "decode", *stream, count=1)[0] * len(left))]
                logprob = float(torch.log(torch.tensor(1.0 / len(left))))
                row.append(Sample((NUMBER[pick],), (logprob,), StopReason.END_OF_TEXT))
            made.append(row)
        return made


@dataclass
class Truth:
    """Scores by the environment, or by a rule of (task, text), and remembers what it was asked."""

    rule: object = None
    name: str = "truth"
    low: float = 0.0
    high: float = 1.0
    busy_workers: int = 0
    waiting_for: str = ""
    warnings: tuple[str, ...] = ()
    asked: list = field(default_factory=list)

    def scores(self, items) -> list[Outcome]:
        self.asked += [(item.trajectory_id, item.text) for item in items]
        environment = Guess(4).build(0)
        rule = self.rule or (lambda task, text: Scored(environment.score(task, text)))
        return [rule(item.task, item.text) for item in items]

    def close(self) -> None:
        return None


def tasks(prompts=4, samples=3, choices=4, tokens=3):
    return Stream().build(Guess(choices).build(0), Budget(prompts, samples, SampleLimits(tokens), 0, False))


def request(step=1, prompts=4, samples=3, tokens=3):
    return Request(step, prompts, samples, SampleLimits(tokens), TRAIN)


def supervise(rule=None, noise=None, seed=0, **more):
    return Supervision(Truth(rule), noise or NoNoise(), seed, **more)
