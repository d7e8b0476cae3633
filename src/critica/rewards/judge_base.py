"""What a judge is: something that is shown messages and answers with text, at a price, or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from critica.environments.base import Environment
from critica.records.words import Message
from critica.rewards.workers import WorkerLimits


class JudgeTrouble(RuntimeError):
    """A judge gave no answer. `again`: the same question may do better, after `wait_seconds` if it said how long."""

    def __init__(self, text: str, again: bool = False, wait_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.again, self.wait_seconds = again, wait_seconds


@dataclass(frozen=True, slots=True)
class JudgeReply:
    """What a judge wrote, and how many tokens question and answer had (0: it did not say)."""

    text: str
    tokens: int = 0


class JudgeClient(Protocol):
    """A live judge. `identity` is all that its answers depend on beside the question: address, model, sampling.

    `complete` may be called from several threads at once. `draw` tells repeated questions apart where the judge
    samples. It returns within `seconds` or raises `JudgeTrouble`.
    """

    identity: str

    def complete(self, messages: Sequence[Message], draw: int, seconds: float) -> JudgeReply: ...

    def close(self) -> None: ...


class JudgePart(ABC):
    """The settings of a judge: a frozen dataclass whose `build` gives the live client."""

    @abstractmethod
    def build(self, environment: Environment, limits: WorkerLimits) -> JudgeClient:
        """The live client. Close it when done."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How a step's questions are asked: how many at once, for how long, how often again, and how many in all.

    `call_seconds` bounds one attempt and `batch_seconds` all questions of a step. What is busy, times out or breaks is
    asked up to `retries` times more, after backoff_seconds, twice that, and so on, or as long as the server says.
    `questions` and `tokens` are the run's budget (0: none): beyond it the judge abstains. Tokens are counted when a
    step's answers are there, so one step may run over. A cached answer counts like a new one, so that a run done again
    stops at the same place. `cache` is a folder that keeps answers between runs; empty keeps them while this one lasts.
    """

    concurrency: int = 8
    call_seconds: float = 60.0
    batch_seconds: float = 300.0
    retries: int = 3
    backoff_seconds: float = 0.5
    questions: int = 0
    tokens: int = 0
    cache: str = ""

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.retries < 0 or self.questions < 0 or self.tokens < 0:
            raise ValueError("asking: concurrency must be at least 1; retries, questions and tokens not negative")
        for name in ("call_seconds", "batch_seconds", "backoff_seconds"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"asking.{name} is {getattr(self, name)}: it must be above 0, and finite")
