"""A step answer by answer, as a person would look at it: what was asked, written, told, true and expected."""

from dataclasses import dataclass

import torch

from critica.evaluation.measure import clean_outcomes
from critica.records.run import StepRecord
from critica.records.words import Task


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of a step.

    `told` is what training was told of it and `clean` what is true, before noise was put on; NaN where nobody knows.
    `expected` is the critic's value before the first written token, NaN if it said nothing there. `advantages` are
    those of the written tokens, 0 where they do not count. `state` is what the books say of it: trained or masked.
    """

    trajectory_id: str
    task: Task
    text: str
    stop: str
    told: float
    clean: float
    expected: float
    advantages: tuple[float, ...]
    state: str


def answers(record: StepRecord) -> tuple[Answer, ...]:
    """The rows of the step's batch, in their order: plain values, so that nothing done to them reaches the training."""
    batch, values, credit = record.batch, record.values, record.credit
    of = {one.trajectory_id: (group.task, one) for group in record.groups for one in group.trajectories}
    states = {entry.trajectory_id: entry.state for entry in record.ledger if entry.kind == "sample"}
    clean = clean_outcomes(batch, record.rewards)[0].tolist()
    counted = torch.where(credit.mask, credit.advantage, 0.0)
    found = []
    for row, name in enumerate(batch.trajectory_ids):
        task, trajectory = of[name]
        written = batch.sampled_mask[row]
        places = written.nonzero().flatten().tolist()
        valued = bool(places) and bool(values.mask[row, places[0]])
        found.append(
            Answer(
                name, task, trajectory.sampled_text, str(batch.stop[row]), float(record.told.total[row]), clean[row],
                float(values.mean[row, places[0]]) if valued else float("nan"), tuple(counted[row][written].tolist()),
                states[name],
            )
        )  # fmt: skip
    return tuple(found)
