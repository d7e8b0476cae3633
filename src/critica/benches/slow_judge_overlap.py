"""What beginning early is worth: the same answers at a slow policy's pace, judged as they end or afterwards.

The shipped policy writes an answer in milliseconds, so each token is held back to `token_seconds`, which stands for a
larger one. Judged as they end, a round's critical path is a schedule: question i may begin when its answer ends, at
most `concurrency` are open, each takes the delay; then comes what is left of the round. When answers end and what is
left is read off the same round judged without a delay. Judged afterwards, it is that round and the waves of questions.
"""

import heapq
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any

from torch import Tensor

from critica.curricula.base import Budget, Request, Stage
from critica.curricula.stream import Stream
from critica.environments.arithmetic import Arithmetic
from critica.policies.base import SampleLimits
from critica.policies.language_model import LanguagePolicy
from critica.records.supervision import Reward
from critica.records.words import Message, Trajectory
from critica.rewards.judge_base import JudgeClient, JudgeReply
from critica.rewards.judge_reward import JudgeReward
from critica.rewards.judge_server import JudgeServer
from critica.rewards.noise import NoNoise
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll
from critica.rollout.control import Control
from critica.rollout.gather import Supervision, gather

LIMITS = SampleLimits(24)


@dataclass(frozen=True, slots=True)
class Round:
    """One round of prompts and answers: how long it took, when each question came to the judge, and what was told."""

    seconds: float
    arrivals: tuple[float, ...]
    told: tuple[Reward, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """One round, judged with the delay as answers end (`seconds`) and after all are written (`after_seconds`)."""

    concurrency: int
    round: int
    questions: int
    undelayed_seconds: float
    waiting_seconds: float
    after_seconds: float
    critical_seconds: float
    seconds: float

    @property
    def ratio(self) -> float:
        """Seconds over the critical path, judged as answers end."""
        return self.seconds / self.critical_seconds

    @property
    def after_ratio(self) -> float:
        """Seconds over the critical path, judged afterwards."""
        return self.after_seconds / (self.undelayed_seconds + self.waiting_seconds)

    @property
    def share(self) -> float:
        """What is left of the seconds that judging afterwards takes."""
        return self.seconds / self.after_seconds


class Clocked:
    """A judge that notes when it is asked."""

    def __init__(self, judge: JudgeClient) -> None:
        self.judge, self.identity = judge, judge.identity
        self.times: list[float] = []
        self._lock = threading.Lock()

    def complete(self, messages: Sequence[Message], draw: int, seconds: float) -> JudgeReply:
        """The judge's reply."""
        with self._lock:
            self.times.append(perf_counter())
        return self.judge.complete(messages, draw, seconds)

    def close(self) -> None:
        """End the judge."""
        self.judge.close()


class Pace(Control):
    """Holds every token back until `seconds` have passed since the one before; writes and stops nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._next = seconds, 0.0

    @property
    def failure(self) -> float:
        raise AssertionError("no row is ever stopped here")

    def begin(self, step: int, streams: Sequence[tuple[int, ...]], temperature: float) -> "Pace":
        """This pace, from now on."""
        self._next = perf_counter() + self.seconds
        return self

    def on_drawn(self, hidden: Tensor, logits: Tensor, tokens: Tensor, rows: Tensor, writing: Tensor) -> None:
        """Wait."""
        sleep(max(0.0, self._next - perf_counter()))
        self._next = max(self._next, perf_counter()) + self.seconds

    def close(self, trajectories: Sequence[Trajectory], rewards: Sequence[Reward]) -> tuple[()]:
        return ()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None


def play(part: JudgeReward, early: bool, judge: Clocked, pace: Pace, sizes: tuple[int, int, int, int]) -> list[Round]:
    """Rounds of (prompts, samples, rounds, seed) from the beginning; the first of them is not returned."""
    prompts, samples, count, seed = sizes
    environment = Arithmetic(1).build(seed)
    policy = LanguagePolicy.load("pico")
    curriculum = Stream().build(environment, Budget(prompts, samples, LIMITS, 0, False))
    source = part.build(environment, WorkerLimits())
    source.takes_hints = early
    rounds = []
    try:
        for number in range(1, count + 1):
            request = Request(number, prompts, samples, LIMITS, Stage("train", True, False))
            asked, start = len(judge.times), perf_counter()
            found = gather(policy, curriculum, Supervision(source, NoNoise(), seed), AcceptAll(), request, pace)
            seconds = perf_counter() - start
            rounds.append(Round(seconds, tuple(t - start for t in judge.times[asked:]), found.rewards))
    finally:
        source.close()
    return rounds[1:]


def measure(
    part_of: Callable[[str, int], JudgeReward],
    delay: float,
    concurrency: int,
    token_seconds: float,
    sizes: tuple[int, int, int, int],
) -> list[Overlap]:
    """Every round three times: without delay, with it as answers end, and with it afterwards.

    Raises ValueError if they were not told the same.
    """
    played = []
    for seconds, early in ((0.0, True), (delay, True), (delay, False)):
        live = ScriptedJudge(delay_seconds=seconds).build(Arithmetic(1).build(sizes[3]), WorkerLimits())
        judge = Clocked(live)
        with JudgeServer(judge) as server:
            played.append(play(part_of(server.url, concurrency), early, judge, Pace(token_seconds), sizes))
        judge.close()
    if any(one.told != other.told for rounds in played[1:] for one, other in zip(played[0], rounds, strict=True)):
        raise ValueError("what is told depends on when it was asked: nothing can be compared")
    return [
        Overlap(
            concurrency, number, len(quick.arrivals), quick.seconds,
            math.ceil(len(quick.arrivals) / concurrency) * delay, after.seconds,
            critical(quick, delay, concurrency), early.seconds,
        )
        for number, (quick, early, after) in enumerate(zip(*played, strict=True), 2)
    ]  # fmt: skip


def critical(quick: Round, delay: float, concurrency: int) -> float:
    """When the last question of this round is answered if each takes `delay`, and what the round does after that."""
    return answered(quick.arrivals, delay, concurrency) + quick.seconds - max(quick.arrivals)


def answered(arrivals: Sequence[float], delay: float, concurrency: int) -> float:
    """When the last question is answered: first come, first served, by `concurrency` who take `delay` for each."""
    free = [0.0] * concurrency
    for arrival in sorted(arrivals):
        heapq.heapreplace(free, max(arrival, free[0]) + delay)
    return max(free)
