"""Nobody learns: tasks are answered, scored and recorded, and every weight stays as it is."""

from dataclasses import dataclass, replace

from critica.curricula.base import Budget, Curriculum, CurriculumPart, Request, Stage
from critica.curricula.stream import LiveStream
from critica.environments.base import Environment, TaskStream

WATCH = Stage("watching", policy=False, critic=False)


@dataclass(frozen=True, slots=True)
class Watching(CurriculumPart):
    """Tasks as they come; no weight moves.

    For systems that sample and train nothing: a run is then a record of what they write and what it is told, which
    `critica inspect` and `report` read like any other. Every sample is in the ledger as masked(watching).
    """

    learns = False

    def build(self, environment: Environment, budget: Budget) -> Curriculum:
        return LiveWatching(TaskStream(environment, "train"), budget)


class LiveWatching(LiveStream):
    """A stream in which the stage is always the same."""

    def next(self, step: int) -> Request:
        """The request of this step (from 1)."""
        return replace(super().next(step), stage=WATCH)
