"""From what is on disk to the rows of the page: one critic, field and condition over all seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from critica.benches.critics_score import averaged, lowest, movement, ratio, readings, spread
from critica.benches.critics_trial import Said
from critica.benches.critics_verdicts import Row
from critica.evaluation.critic_panel import AuditedStates

GROUP = "group_mean"


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said of the states of one field at one seed, by spec and condition."""

    field: str
    seed: int
    states: AuditedStates
    said: Mapping[tuple[str, str], Said]
    names: Mapping[str, str]
    older: frozenset[str] = frozenset()


def rows_of(heard: Sequence[Heard]) -> list[Row]:
    """A row for every critic, field and condition, over the seeds that have it and the group's mean."""
    found = []
    for field in dict.fromkeys(item.field for item in heard):
        here = [item for item in heard if item.field == field]
        for spec, condition in dict.fromkeys(key for item in here for key in item.said):
            ready = [item for item in here if (spec, condition) in item.said and (GROUP, "data") in item.said]
            if ready:
                found.append(row_of(spec, condition, ready))
    return found


def row_of(spec: str, condition: str, heard: Sequence[Heard]) -> Row:
    """One row. The ratio is to the mean of the declared group under both conditions: its error has one size."""
    said = [item.said[spec, condition] for item in heard]
    group = [item.said[GROUP, "data"].predicted.value for item in heard]
    parts = [(h.states, s.predicted.value, g) for h, s, g in zip(heard, said, group, strict=True)]
    measured = ratio(parts)
    numbers = [readings(h.states, s.predicted) for h, s in zip(heard, said, strict=True)]
    moved = [movement(h.states, s.predicted.value) for h, s in zip(heard, said, strict=True)]
    return Row(
        spec=spec,
        name=heard[0].names[spec],
        field=heard[0].field,
        condition=condition,
        ratio=measured.value,
        low=measured.low,
        high=measured.high,
        floor=measured.floor,
        readings=averaged(numbers) | {"mae_spread": spread(numbers, "mae")},
        floors=averaged([lowest(h.states) for h in heard]),
        seeds=len(heard),
        seconds=float(np.mean([s.seconds for s in said])),
        answers=float(np.mean([s.answers for s in said])),
        samples=float(np.mean([s.samples for s in said])),
        silent=float(np.mean([s.silent for s in said])),
        older=any(spec in h.older for h in heard),
        own=any(s.own for s in said),
        movement=float(np.mean([m for m, _ in moved])),
        follows=float(np.mean([f for _, f in moved])),
    )
