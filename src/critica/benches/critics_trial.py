"""One critic on one world: what it says of the audited states after equal data, and after equal time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from critica.benches.critics_entries import Entry
from critica.benches.critics_lesson import Effort, Moment, Pupil, taught
from critica.benches.critics_states import States
from critica.benches.critics_world import Answered
from critica.critics.base import Remembering
from critica.evaluation.critic_laws import law_points
from critica.evaluation.critic_panel import Predicted
from critica.functional.groups import group_mean
from critica.records.arrays import Point, ValuePrediction
from critica.records.evidence import Continuations

DATA, TIME = "data", "time"


@dataclass(frozen=True, slots=True)
class Budget:
    """`past` answers of earlier rounds for everyone; under equal time `seconds` of one CPU for each critic.

    The seconds pay for whatever the critic uses: earlier answers, the audited groups' answers (only if it compares
    siblings), learning, and saying the values. Under equal time a critic that needs no learning gets larger groups (in
    doublings, up to the pool), one that learns stops when the time is over, and continuations get the k that fits.
    """

    past: int = 1_024
    seconds: float = 8.0


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of the states (n of them) under one condition, and what it took.

    `silent` is the share of states that it did not speak of: these got the mean of the group. `own`: it has looked at
    the outcome of the very answer whose states it values.
    """

    condition: str
    predicted: Predicted
    seconds: float
    answers: int
    samples: int
    silent: float
    own: bool = False
    course: tuple[Moment, ...] = ()


def run_entry(entry: Entry, states: States, budget: Budget, effort: Effort) -> list[Said]:
    """Both conditions of one critic."""
    pupil = Pupil.enrol(states.world, entry.choice)
    rounds = states.world.rounds(entry.choice.past or budget.past)
    if pupil.learner is not None:
        return learned(pupil, entry, states, rounds, budget, effort)
    return counted(pupil, entry, states, rounds, budget)


def counted(pupil: Pupil, entry: Entry, states: States, rounds: Sequence[Answered], budget: Budget) -> list[Said]:
    """A critic without weights: it may remember the rounds; under equal time its groups grow."""
    begun, remembers = time.process_time(), isinstance(pupil.critic, Remembering)
    for part in rounds if remembers else ():
        pupil.predict(part)
        pupil.critic.remember(part.batch, part.told)  # type: ignore[attr-defined]
    past = time.process_time() - begun + (sum(part.seconds for part in rounds) if remembers else 0.0)
    answers = sum(part.answers for part in rounds) if remembers else 0
    measures = Continuations in pupil.critic.needs  # then siblings tell it nothing, and only states asked about cost
    sizes, found = states.world.sizes, []
    samples = sizes.answers if measures else sizes.samples
    while samples <= (sizes.answers if measures else sizes.pool):
        group = states.world.audited(samples)
        begun = time.process_time()
        values = pupil.predict(group)
        seconds = past + time.process_time() - begun + group.seconds
        if found and seconds > budget.seconds:
            break
        said = read(values, group, states, samples)
        found.append(Said(DATA, said[0], seconds, answers + group.answers, samples, said[1], values.uses_own_outcome))
        samples *= 2
    last = found[-1]
    return [found[0], replace(last, condition=TIME)]


def learned(
    pupil: Pupil, entry: Entry, states: States, rounds: Sequence[Answered], budget: Budget, effort: Effort
) -> list[Said]:
    """A critic with weights: the best judged moment of all, and the best of those within the time."""
    sizes, group = states.world.sizes, states.group
    siblings = entry.choice.critic.group_based is True
    asked = group if siblings else states.world.audited(sizes.answers)
    answers = sum(part.answers for part in rounds) + (group.answers if siblings else 0)
    paid = sum(part.seconds for part in rounds) + (group.seconds if siblings else 0.0)
    course: list[Moment] = []
    best: dict[str, tuple[float, Any]] = {}
    for moment in taught(pupil, rounds, effort):
        course.append(moment)
        begun = time.process_time()
        values = pupil.predict(asked)
        seconds = paid + moment.seconds + time.process_time() - begun
        predicted, silent = read(values, asked, states, sizes.samples if siblings else sizes.answers)
        for condition in (DATA, TIME):
            late = condition == TIME and seconds > budget.seconds and TIME in best
            if not late and (condition not in best or moment.held_out_error < best[condition][0]):
                best[condition] = (moment.held_out_error, (predicted, seconds, silent, values.uses_own_outcome))
    final = paid + course[-1].seconds
    return [
        Said(c, p, final if c == DATA else s, answers, sizes.samples if siblings else 0, q, own, tuple(course))
        for c, (_, (p, s, q, own)) in best.items()
    ]


def read(values: ValuePrediction, asked: Answered, states: States, each: int) -> tuple[Predicted, float]:
    """The predictions at the states' tokens; where it says nothing, the group's mean."""
    rows = torch.tensor([p * each + a for p, a in zip(states.prompt.tolist(), states.answer.tolist(), strict=True)])
    columns = torch.tensor([place.column for place in states.places])
    spoken = values.mask[rows, columns].numpy()
    value = values.mean[rows, columns].double().numpy()
    points, shares = law_points(values, rows, columns)
    if not spoken.all():
        group = states.group
        mean = group_mean(group.told.total, group.told.all_known, group.batch.group_index)
        mean = mean[[place.row for place in states.places]].double().numpy()
        value = np.where(spoken, value, mean)
        points = np.where(spoken[:, None], points, mean[:, None])
    about = "point" if isinstance(values.law, Point) else type(values.law).__name__
    return Predicted("", about, value, points, shares), float(1 - spoken.mean())


def references(states: States, budget: Budget) -> list[tuple[str, Said]]:
    """Monte-Carlo estimates from k fresh continuations of each state, k = 1, 2, 4, ..., and the k that time allows."""
    outcomes, each = states.fresh()
    most = outcomes.shape[1]
    sizes = [k for k in (1, 2, 4, 8, 16) if k <= most]
    affordable = int(min(most, max(1, budget.seconds // max(each, 1e-9))))
    found = [(f"mcs@{k}", _mean_of(outcomes, k, each, DATA)) for k in sizes]
    return [*found, ("mcs@time", _mean_of(outcomes, affordable, each, TIME))]


def _mean_of(outcomes: np.ndarray, k: int, each: float, condition: str) -> Said:
    part = outcomes[:, :k].astype(np.float64)
    shares = np.full_like(part, 1 / k)
    return Said(condition, Predicted("", f"{k} continuations", part.mean(1), part, shares), k * each, part.size, k, 0.0)
