"""Fresh continuations of prefixes: where to go on from, what the policy writes there, and what it is told for it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from critica.curricula.base import Request
from critica.policies.base import Policy, PromptTooLong, Sample, SampleLimits, SampleRequest
from critica.records.arrays import Metric, TokenBatch
from critica.records.supervision import Reward, Scored
from critica.records.words import ContextTurn, Group, Message, SampledTurn, Task, Trajectory
from critica.rewards.base import RewardFailures, ScoreRequest
from critica.rollout.ask import ask
from critica.rollout.gather import Supervision
from critica.rollout.place import SoftOverlong
from critica.rollout.samples import until_stop

BUCKET_TOKENS = 16  # continuations whose room differs by less are decoded together, and cut to their own room


@dataclass(frozen=True, slots=True)
class Place:
    """A state to go on from: before sampled token `offset` of the `length` that row `row` wrote, at grid `column`.

    `stream` names the random numbers of its continuations; `room` is how many tokens the task's limit leaves.
    """

    row: int
    offset: int
    column: int
    length: int
    task: Task
    prefix_ids: tuple[int, ...]
    written_ids: tuple[int, ...]
    room: int
    stream: tuple[int, ...]


def place_at(batch: TokenBatch, row: int, offset: int, task: Task, limit: int, stream: tuple[int, ...]) -> Place:
    """The state before a row's sampled token number `offset`."""
    columns = batch.sampled_mask[row].nonzero().squeeze(-1).tolist()
    column, ids = columns[offset], batch.token_ids[row].tolist()
    written = tuple(ids[i] for i in columns[:offset])
    return Place(row, offset, column, len(columns), task, tuple(ids[:column]), written, limit - offset, stream)


@dataclass(frozen=True, slots=True)
class Written:
    """Continuations by place, each cut to its place's room, and their price: tokens written (also the ones cut off
    again) and prefix tokens read, each prefix once."""

    samples: tuple[tuple[Sample, ...], ...]
    tokens: int
    read_tokens: int


def continue_places(
    policy: Policy,
    places: Sequence[Place],
    continuations: int,
    temperature: float,
    seed: int,
    law: SampleLimits = SampleLimits(1),  # noqa: B008
) -> Written:
    """`continuations` fresh samples of every place. Those of one place share its keys and values.

    What is drawn among and what ends an answer is as `law` says.

    A sample's tokens depend on its own random numbers one by one, so one that is cut is the one that was limited.
    """
    written: list[list[Sample]] = [[] for _ in places]
    for members in buckets(places):
        limits = replace(law, temperature=temperature)
        answers = _decode(policy, [places[i] for i in members], continuations, limits, seed)
        for i, samples in zip(members, answers, strict=True):
            written[i] = samples
    return Written(
        tuple(tuple(cut(sample, place) for sample in row) for row, place in zip(written, places, strict=True)),
        sum(len(sample.token_ids) for row in written for sample in row),
        sum(len(place.prefix_ids) for place in places),
    )


def buckets(places: Sequence[Place]) -> list[list[int]]:
    """Indices of places with about as much room, so that few tokens are written beyond a place's own limit."""
    found: dict[int, list[int]] = {}
    for index, place in enumerate(places):
        found.setdefault(-(-place.room // BUCKET_TOKENS), []).append(index)
    return [found[key] for key in sorted(found)]


def cut(sample: Sample, place: Place) -> Sample:
    """What the task's limit leaves room for."""
    return sample.within(place.room)


def _decode(
    policy: Policy, places: Sequence[Place], continuations: int, law: SampleLimits, seed: int
) -> list[list[Sample]]:
    requests = [
        SampleRequest(place.prefix_ids, tuple((*place.stream, j) for j in range(continuations))) for place in places
    ]
    room = max(place.room for place in places)
    try:
        return policy.sample(requests, replace(law, max_new_tokens=room), seed)
    except PromptTooLong:
        if all(place.room == room for place in places):
            raise
        return [_decode(policy, [place], continuations, law, seed)[0] for place in places]


def number_of(name: str) -> int:
    """A number that names random numbers by a text, whatever its place in a list."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")


class Continuer:
    """Goes on from states of a step's answers, and asks the step's own source, noise and journal about the results.

    Random numbers are counted by (seed, step, group, prefix, i): equal prefixes of a prompt are one state and share
    their continuations (as in VinePPO's released code). What is told passes through the noise of training: whatever
    flips a group as a whole flips its continuations too. A step done again finds the answers in the journal.
    Single-turn answers only: an environment that replies would have to be put back first.
    """

    def __init__(
        self,
        policy: Policy,
        supervision: Supervision,
        request: Request,
        overlong: SoftOverlong,
        groups: tuple[Group, ...],
        batch: TokenBatch,
    ) -> None:
        self._policy, self._supervision, self._request = policy, supervision, request
        self._overlong, self._batch = overlong, batch
        self._owner = [(group, trajectory) for group in groups for trajectory in group.trajectories]
        self._written: dict[str, list[Trajectory]] = {group.key: list(group.trajectories) for group in groups}
        self._told: dict[tuple[str, tuple[int, ...], int], list[float]] = {}
        self._samples = self._unknown = self._tokens = self._read = 0

    def outcomes(self, states: Sequence[tuple[int, int]], count: int, greedy: bool = False) -> Float[np.ndarray, "n k"]:
        """What training is told about `count` fresh continuations of each state (row, offset); NaN where unknown.

        `greedy` ones are all alike, so that `count` must be 1. Raises `RewardFailures` where the step itself would:
        too many failed.
        """
        seed, temperature = self._supervision.seed, 0.0 if greedy else self._request.limits.temperature
        if greedy and count != 1:
            raise ValueError(f"there is one greedy continuation of a state, and {count} were asked for")
        asked: dict[tuple[str, tuple[int, ...], int], Place] = {}
        keys = []
        for row, offset in states:
            place = self._place(row, offset)
            keys.append((self._owner[row][0].key, place.written_ids, 0 if greedy else count))
            if keys[-1] not in self._told:
                asked.setdefault(keys[-1], place)
        if asked:
            places = list(asked.values())
            written = continue_places(self._policy, places, count, temperature, seed, self._request.limits)
            self._tokens, self._read = self._tokens + written.tokens, self._read + written.read_tokens
            self._told |= dict(zip(asked, self._tell(places, written, temperature), strict=True))
        return np.array([self._told[key] for key in keys], dtype=np.float64).reshape(len(keys), count)

    def reports(self) -> tuple[Metric, ...]:
        """What it took; nothing if nobody asked."""
        if not self._samples:
            return ()
        return (
            Metric("continuations/states", float(len(self._told)), 1.0),
            Metric("continuations/samples", float(self._samples), 1.0),
            Metric("continuations/tokens", float(self._tokens), 1.0),
            Metric("continuations/read_tokens", float(self._read), 1.0),
            Metric("continuations/unknown", float(self._unknown), float(self._samples)),
        )

    def _place(self, row: int, offset: int) -> Place:
        group, trajectory = self._owner[row]
        if len(trajectory.turns) > 2:
            raise ValueError(
                f"trajectory {trajectory.trajectory_id!r} has several turns: its continuations would need the"
                " environment's replies; take a critic that needs no continuations"
            )
        place = place_at(self._batch, row, offset, group.task, self._request.limits.max_new_tokens, ())
        prefix = number_of(",".join(map(str, place.written_ids)))
        return replace(place, stream=(self._request.step, number_of(group.key), prefix))

    def _tell(self, places: Sequence[Place], written: Written, temperature: float) -> list[list[float]]:
        """The told value of each continuation, in the order of the places."""
        supervision, step, source = self._supervision, self._request.step, self._supervision.source
        made = [
            self._trajectory(place, j, sample, temperature)
            for place, samples in zip(places, written.samples, strict=True)
            for j, sample in enumerate(samples)
        ]
        tasks = [place.task for place, samples in zip(places, written.samples, strict=True) for _ in samples]
        items = [
            ScoreRequest(task, t.trajectory_id, self._text(t), tokens=t.token_count - len(self._prompt(t)))
            for task, t in zip(tasks, made, strict=True)
        ]
        outcomes = [verdict.total for verdict in ask(source, items, supervision.journal, step)]
        try:
            supervision.failures.check(source.name, outcomes)
        except RewardFailures:
            supervision.journal.forget_failures(step)
            raise
        groups = self._with(made, tasks)
        rewards = [Reward(source.name, t.trajectory_id, o) for t, o in zip(made, outcomes, strict=True)]
        rewards = supervision.noise.tamper(rewards, groups, step, supervision.seed, source.low, source.high)
        lengths = [
            float(place.offset + len(sample.token_ids))
            for place, samples in zip(places, written.samples, strict=True)
            for sample in samples
        ]
        costs = self._overlong.cost(torch.tensor(lengths)).tolist()
        values = [
            reward.outcome.value + cost if isinstance(reward.outcome, Scored) else float("nan")
            for reward, cost in zip(rewards, costs, strict=True)
        ]
        self._samples += len(values)
        self._unknown += sum(not isinstance(reward.outcome, Scored) for reward in rewards)
        width = len(written.samples[0])
        return [values[i : i + width] for i in range(0, len(values), width)]

    def _trajectory(self, place: Place, index: int, sample: Sample, temperature: float) -> Trajectory:
        """A continuation as a child of the answer that it goes on from."""
        group, parent = self._owner[place.row]
        name = f"{parent.trajectory_id}@{place.offset}.{index if temperature else 'greedy'}"
        message = Message("assistant", self._policy.decode_text(sample.token_ids))
        turns = (
            ContextTurn(group.task.messages[-1], place.prefix_ids),
            SampledTurn(message, sample.token_ids, sample.logprobs, temperature, self._policy.version),
        )
        return Trajectory(
            name, parent.episode_id, group.task.task_id, group.key, parent.role, turns, sample.stop,
            parent.trajectory_id,
        )  # fmt: skip

    def _text(self, child: Trajectory) -> str:
        """The whole answer: what was written before and what follows, decoded together."""
        prompt, (context, turn) = len(self._prompt(child)), child.turns
        whole = self._policy.decode_text((*context.token_ids[prompt:], *turn.token_ids))
        return until_stop(whole, self._request.limits.stop)

    def _prompt(self, child: Trajectory) -> tuple[int, ...]:
        return self._written[child.group_id][0].turns[0].token_ids

    def _with(self, made: Sequence[Trajectory], tasks: Sequence[Task]) -> list[Group]:
        """The groups with these children behind their members, so that each has a place of its own in the noise."""
        task_of: dict[str, Task] = {}
        for trajectory, task in zip(made, tasks, strict=True):
            self._written[trajectory.group_id].append(trajectory)
            task_of[trajectory.group_id] = task
        return [Group(key, task, tuple(self._written[key])) for key, task in task_of.items()]


class Invented:
    """Says zero about whatever it is asked: for a rehearsal, in which no source is asked."""

    def outcomes(self, states: Sequence[tuple[int, int]], count: int, greedy: bool = False) -> Float[np.ndarray, "n k"]:
        """Zeros."""
        return np.zeros((len(states), count))
