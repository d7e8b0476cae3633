"""The plain curriculum: the environment's training tasks in order, each seen once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critica.curricula.base import Budget, Curriculum, CurriculumPart, Request, Stage
from critica.environments.base import Environment, TaskStream
from critica.records.words import Task


@dataclass(frozen=True, slots=True)
class Stream(CurriculumPart):
    """Tasks as they come; the first `critic_warmup_steps` steps train the critic alone (VC-PPO's pretraining)."""

    def build(self, environment: Environment, budget: Budget) -> Curriculum:
        return LiveStream(TaskStream(environment, "train"), budget)


class LiveStream(Curriculum):
    """A stream with a cursor."""

    def __init__(self, tasks: TaskStream, budget: Budget) -> None:
        self._tasks = tasks
        self._budget = budget

    def next(self, step: int) -> Request:
        """The request of this step (from 1)."""
        warming = self._budget.has_trainable_critic and step <= self._budget.critic_warmup_steps
        stage = Stage("critic_warmup", policy=False, critic=True) if warming else Stage("train", True, True)
        return Request(step, self._budget.prompts_per_step, self._budget.samples_per_prompt, self._budget.limits, stage)

    def draw(self, count: int) -> tuple[Task, ...]:
        """The next `count` training tasks."""
        return tuple(self._tasks.next() for _ in range(count))

    def state_dict(self) -> dict[str, Any]:
        return self._tasks.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tasks.load_state_dict(state)
