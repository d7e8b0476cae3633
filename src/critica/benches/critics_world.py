"""One field at one seed: answers of the frozen policy, in rounds that came before and in audited groups; all kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from critica.benches.critics_fields import Field
from critica.curricula.base import Request, Stage
from critica.environments.base import Environment
from critica.policies.base import Sample, SampleLimits, SampleRequest
from critica.policies.language_model import LanguagePolicy
from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.records.supervision import Outcome, Reward, Scored
from critica.records.words import Group, SampledTurn, StopReason, Task
from critica.rewards.base import ScoreRequest
from critica.rollout.place import Placement, place
from critica.rollout.samples import collect, group_of, trajectory_name
from critica.rollout.tokenize import tokenize
from critica.training.lesson import select_told

STAGE = Stage("critics bench", policy=False, critic=False)
ROUND_PROMPTS, ROUND_RETURNING = 16, 4  # prompts of one earlier round, and how many of them will be audited
AT_ONCE = 2_048  # answers decoded together, for the memory
STOPS = tuple(StopReason)
AUDITED_STEP = 0  # earlier rounds are steps 1, 2, 3, ...


class Judge:
    """The environment's own scorer in this process: right or wrong, never noisy."""

    low, high, busy_workers, waiting_for, warnings = 0.0, 1.0, 0, "", ()

    def __init__(self, environment: Environment) -> None:
        self.name, self.environment = environment.name, environment

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        """1 for right, 0 for wrong."""
        judged = (self.environment.score(item.task, item.text) for item in items)
        return [Scored(float(self.environment.is_correct(score))) for score in judged]

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Groups with their rewards as arrays, and the CPU seconds that writing and scoring one answer took."""

    groups: tuple[Group, ...]
    batch: TokenBatch
    told: RewardBatch
    seconds_per_answer: float

    @property
    def answers(self) -> int:
        """How many."""
        return self.batch.rows

    @property
    def seconds(self) -> float:
        """CPU seconds of all of them."""
        return self.answers * self.seconds_per_answer


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is asked: audited prompts, siblings of each, of which `answers` are cut at `positions` places each.

    `returning` is the share of the audited prompts that were asked once before, in the earlier rounds.
    """

    prompts: int = 24
    samples: int = 16
    answers: int = 3
    positions: int = 4
    returning: float = 0.5
    pool: int = 64


@dataclass
class World:
    """A field at a seed. Whatever was sampled is kept in `folder` and read back the next time."""

    spot: Field
    seed: int
    sizes: Sizes
    policy: LanguagePolicy
    folder: Path
    environment: Environment = field(init=False)
    judge: Judge = field(init=False)
    _rounds: list[Answered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment = self.spot.environment.build(self.seed)
        self.judge = Judge(self.environment)
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def limit(self) -> int:
        """Tokens of an answer at most."""
        return self.environment.max_new_tokens

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The audited prompts; the first of them came before."""
        return self.environment.held_out(self.sizes.prompts)

    @property
    def returning(self) -> int:
        """How many audited prompts were asked before."""
        return round(self.sizes.returning * self.sizes.prompts)

    @cached_property
    def pool(self) -> Answered:
        """Every audited prompt answered many times; smaller groups are the first of these."""
        return self._asked("pool", self.tasks, self.sizes.pool, AUDITED_STEP)

    def audited(self, samples: int = 0) -> Answered:
        """The audited groups with so many siblings (0: as declared), and what these cost."""
        return cut(self.pool, samples or self.sizes.samples)

    def rounds(self, answers: int) -> tuple[Answered, ...]:
        """Earlier rounds of about so many answers: the returning prompts once, then prompts never seen again."""
        per_round = ROUND_PROMPTS * self.sizes.samples
        wanted = max(1, -(-answers // per_round))
        while len(self._rounds) < wanted:
            number = len(self._rounds)
            fresh = islice(self.environment.tasks("train", number * 10 * ROUND_PROMPTS), ROUND_PROMPTS)
            back = self.tasks[: self.returning][number * ROUND_RETURNING : (number + 1) * ROUND_RETURNING]
            tasks = (*back, *fresh)[:ROUND_PROMPTS]
            self._rounds.append(self._asked(f"round-{number}", tasks, self.sizes.samples, number + 1))
        return tuple(self._rounds[:wanted])

    def _asked(self, name: str, tasks: tuple[Task, ...], samples: int, step: int) -> Answered:
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            keep(path, *self._sample(tasks, samples, step))
        written, values, seconds = recall(path)
        groups, rewards = [], []
        limits = SampleLimits(self.limit, 1.0)
        request = Request(step, len(tasks), samples, limits, STAGE)
        for slot, task in enumerate(tasks):
            ids = self.policy.encode(task.messages)
            own = range(slot * samples, (slot + 1) * samples)
            asked = SampleRequest(ids, tuple((step, slot, i) for i in range(samples)))
            groups.append(group_of(self.policy, task, asked, [written[i] for i in own], request, slot))
            names = (trajectory_name(step, slot, i) for i in range(samples))
            rewards += [Reward(self.judge.name, n, Scored(values[i])) for n, i in zip(names, own, strict=True)]
        batch = tokenize(tuple(groups))
        told = place(tuple(rewards), batch, Evidence(), Placement(), self.judge)
        return Answered(tuple(groups), batch, told, seconds / len(written))

    def _sample(self, tasks: tuple[Task, ...], samples: int, step: int) -> tuple[list[Sample], list[float], float]:
        """The samples of every task in order, their outcomes, and the CPU seconds of both."""
        begun, size = time.process_time(), max(1, AT_ONCE // samples)
        groups: list[Group] = []
        for start in range(0, len(tasks), size):
            part = tasks[start : start + size]
            request = Request(step, len(part), samples, SampleLimits(self.limit, 1.0), STAGE)
            groups += collect(self.policy, part, request, self.seed, start)
        pairs = [(group.task, item) for group in groups for item in group.trajectories]
        told = self.judge.scores([ScoreRequest(task, item.trajectory_id, item.sampled_text) for task, item in pairs])
        seconds = time.process_time() - begun
        written = []
        for _, item in pairs:
            turn = item.turns[-1]
            assert isinstance(turn, SampledTurn)
            written.append(Sample(turn.token_ids, turn.behavior_logprobs, item.stop))
        return written, [outcome.value for outcome in told if isinstance(outcome, Scored)], seconds


def cut(answered: Answered, samples: int) -> Answered:
    """The first `samples` siblings of every group."""
    groups = tuple(replace(group, trajectories=group.trajectories[:samples]) for group in answered.groups)
    each = len(answered.groups[0].trajectories)
    if samples == each:
        return answered
    rows = torch.tensor([g * each + i for g in range(len(groups)) for i in range(samples)])
    batch = answered.batch.select(rows)
    told = select_told(answered.told, rows, batch.token_ids.shape[1])
    return Answered(groups, batch, told, answered.seconds_per_answer)


def keep(path: Path, written: Sequence[Sample], values: Sequence[float], seconds: float) -> None:
    """Write samples: whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    np.savez_compressed(
        temporary, length=[len(s.token_ids) for s in written], ids=[i for s in written for i in s.token_ids],
        logprobs=[p for s in written for p in s.logprobs], stop=[STOPS.index(s.stop) for s in written],
        value=np.array(values), seconds=seconds,
    )  # fmt: skip
    temporary.replace(path)


def recall(path: Path) -> tuple[list[Sample], list[float], float]:
    """What `keep` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        ends = np.cumsum(kept["length"])[:-1]
        ids, logprobs = np.split(kept["ids"], ends), np.split(kept["logprobs"], ends)
        stops, values, seconds = kept["stop"].tolist(), kept["value"].tolist(), float(kept["seconds"])
    parts = zip(ids, logprobs, stops, strict=True)
    return [Sample(tuple(i.tolist()), tuple(p.tolist()), STOPS[s]) for i, p, s in parts], values, seconds
