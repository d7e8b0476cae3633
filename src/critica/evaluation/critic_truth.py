"""The true value of a prefix, measured: fresh continuations by the policy, scored without noise (SVEB's MCS@k)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critica.functional.random import uniforms
from critica.policies.base import Policy, PromptTooLong, Sample, SampleLimits, SampleRequest
from critica.records.arrays import TokenBatch
from critica.records.supervision import Scored
from critica.records.words import Task
from critica.rewards.base import RewardSource, ScoreRequest

BUCKET_TOKENS = 16  # continuations whose room differs by less are decoded together, and cut to their own room
TEXTS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """A state to be audited: before sampled token `offset` of the `length` that row `row` wrote, at grid `column`.

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


def choose_places(
    batch: TokenBatch, tasks: Sequence[Task], rows: Sequence[int], positions: int, limit: int, seed: int
) -> tuple[Place, ...]:
    """`positions` states of each row, one in each equal part of its length, at a place drawn by the task's name.

    A row with fewer tokens gives each of its states once. The state after the last token is none: its value is known.
    """
    places = []
    for row in rows:
        columns = batch.sampled_mask[row].nonzero().squeeze(-1).tolist()
        name = name_of(tasks[row])
        share = float(uniforms(seed, "critic audit/places", name, row, count=1)[0])
        offsets = sorted({int((part + share) / positions * len(columns)) for part in range(positions)})
        ids = batch.token_ids[row].tolist()
        for offset in offsets:
            column = columns[offset]
            written = tuple(ids[i] for i in columns[:offset])
            places.append(
                Place(
                    row, offset, column, len(columns), tasks[row], tuple(ids[:column]), written, limit - offset,
                    (name, row, offset),
                )
            )  # fmt: skip
    return tuple(places)


def continued_outcomes(
    policy: Policy,
    source: RewardSource,
    places: Sequence[Place],
    continuations: int,
    temperature: float,
    seed: int,
) -> Float[np.ndarray, "n k"]:
    """The clean score of `continuations` fresh continuations of every place; NaN where one could not be scored.

    The k continuations of a prefix share its keys and values. Whoever stops at the task's limit is scored as it is.
    """
    written: list[list[Sample]] = [[] for _ in places]
    for members in buckets(places):
        answers = _decode(policy, [places[i] for i in members], continuations, temperature, seed)
        for i, samples in zip(members, answers, strict=True):
            written[i] = samples
    items = [
        ScoreRequest(place.task, f"audit.{i}.{j}", policy.decode_text(place.written_ids + cut(sample, place)))
        for i, (place, samples) in enumerate(zip(places, written, strict=True))
        for j, sample in enumerate(samples)
    ]
    scores: list[float] = []
    for start in range(0, len(items), TEXTS_AT_ONCE):
        told = source.scores(items[start : start + TEXTS_AT_ONCE])
        scores += [outcome.value if isinstance(outcome, Scored) else math.nan for outcome in told]
    return np.array(scores, dtype=np.float64).reshape(len(places), continuations)


def cut(sample: Sample, place: Place) -> tuple[int, ...]:
    """The tokens that the task's limit leaves room for."""
    return sample.token_ids[: place.room]


def buckets(places: Sequence[Place]) -> list[list[int]]:
    """Indices of places with about as much room, so that few tokens are written beyond a place's own limit."""
    found: dict[int, list[int]] = {}
    for index, place in enumerate(places):
        found.setdefault(-(-place.room // BUCKET_TOKENS), []).append(index)
    return [found[key] for key in sorted(found)]


def _decode(
    policy: Policy, places: Sequence[Place], continuations: int, temperature: float, seed: int
) -> list[list[Sample]]:
    """A sample's tokens depend on its own random numbers one by one, so one that is cut is the one that was limited."""
    requests = [
        SampleRequest(place.prefix_ids, tuple((*place.stream, j) for j in range(continuations))) for place in places
    ]
    room = max(place.room for place in places)
    try:
        return policy.sample(requests, SampleLimits(room, temperature), seed)
    except PromptTooLong:
        if all(place.room == room for place in places):
            raise
        return [_decode(policy, [place], continuations, temperature, seed)[0] for place in places]


def name_of(task: Task) -> int:
    """A number that names the task's random numbers, whatever its place in a list."""
    return int.from_bytes(hashlib.blake2b(task.task_id.encode(), digest_size=7).digest(), "big")


def weights_of(outcomes: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Equal weights of the scored continuations, 0 of the others. Raises if a state has fewer than two."""
    known = ~np.isnan(outcomes)
    if (known.sum(1) < 2).any():
        raise TruthMissing(
            f"{int((known.sum(1) < 2).sum())} of {len(outcomes)} states have fewer than two scored continuations: the"
            " scorer fails on what the policy writes; run it by hand on one answer, or ask for more --continuations"
        )
    return known / known.sum(1, keepdims=True)


class TruthMissing(ValueError):
    """The true value of a state could not be measured."""
