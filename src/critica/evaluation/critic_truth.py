"""The true value of a prefix, measured: fresh continuations by the policy, scored without noise (SVEB's MCS@k)."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from critica.functional.random import uniforms
from critica.policies.base import Policy
from critica.records.arrays import TokenBatch
from critica.records.supervision import Scored
from critica.records.words import Task
from critica.rewards.base import RewardSource, ScoreRequest
from critica.rollout.continuations import Place, buckets, continue_places, number_of, place_at

__all__ = ["Place", "TruthMissing", "buckets", "choose_places", "continued_outcomes", "name_of", "weights_of"]

TEXTS_AT_ONCE = 20_000


def choose_places(
    batch: TokenBatch, tasks: Sequence[Task], rows: Sequence[int], positions: int, limit: int, seed: int
) -> tuple[Place, ...]:
    """`positions` states of each row, one in each equal part of its length, at a place drawn by the task's name.

    A row with fewer tokens gives each of its states once. The state after the last token is none: its value is known.
    """
    places = []
    for row in rows:
        length, name = int(batch.sampled_mask[row].sum()), name_of(tasks[row])
        share = float(uniforms(seed, "critic audit/places", name, row, count=1)[0])
        offsets = sorted({int((part + share) / positions * length) for part in range(positions)})
        places += [place_at(batch, row, offset, tasks[row], limit, (name, row, offset)) for offset in offsets]
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
    written = continue_places(policy, places, continuations, temperature, seed).samples
    items = [
        ScoreRequest(place.task, f"audit.{i}.{j}", policy.decode_text(place.written_ids + sample.token_ids))
        for i, (place, samples) in enumerate(zip(places, written, strict=True))
        for j, sample in enumerate(samples)
    ]
    scores: list[float] = []
    for start in range(0, len(items), TEXTS_AT_ONCE):
        told = source.scores(items[start : start + TEXTS_AT_ONCE])
        scores += [outcome.value if isinstance(outcome, Scored) else math.nan for outcome in told]
    return np.array(scores, dtype=np.float64).reshape(len(places), continuations)


def name_of(task: Task) -> int:
    """A number that names the task's random numbers, whatever its place in a list."""
    return number_of(task.task_id)


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
