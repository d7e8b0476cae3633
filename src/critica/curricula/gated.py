"""Quality-gated warm-up: the policy starts to learn when the critic has become good enough, not after a fixed time."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from critica.curricula.base import Budget, Curriculum, CurriculumPart, Request, Stage
from critica.environments.base import Environment, TaskStream
from critica.records.arrays import Metric
from critica.records.words import Task

WARMUP, TRAIN = Stage("critic_warmup", policy=False, critic=True), Stage("train", policy=True, critic=True)


class GateProblem(ValueError):
    """A gate that could never open, or would never close."""


@dataclass(frozen=True, slots=True)
class GatedWarmup(CurriculumPart):
    """Tasks as they come; the critic alone learns until the mean of `metric` over `window` steps is at least `quality`.

    The metric is the panel's, taken before the step's update on prompts that are new: it is held out. At most
    learner.critic_warmup_steps steps; once open the gate stays open. At quality -inf it opens after `window` steps.
    """

    quality: float = 0.3
    window: int = 5
    metric: Literal["critic/explained_variance", "critic/rank_correlation"] = "critic/explained_variance"

    def __post_init__(self) -> None:
        if math.isnan(self.quality) or self.quality > 1:
            raise GateProblem(f"quality is at most 1, got {self.quality}: no critic is better than perfect")
        if self.window < 1:
            raise GateProblem(f"window counts steps, got {self.window}")

    def build(self, environment: Environment, budget: Budget) -> Curriculum:
        if not budget.has_trainable_critic:
            raise GateProblem(
                "a gate waits for a critic that learns, and this one does not: set curriculum=stream, or critic=scalar"
            )
        if budget.critic_warmup_steps < self.window:
            raise GateProblem(
                f"the gate looks at {self.window} steps and learner.critic_warmup_steps, the most it may wait, is"
                f" {budget.critic_warmup_steps}: raise it, for example --set learner.critic_warmup_steps=50"
            )
        return LiveGate(self, TaskStream(environment, "train"), budget)


class LiveGate(Curriculum):
    """A stream with a cursor and a gate."""

    def __init__(self, part: GatedWarmup, tasks: TaskStream, budget: Budget) -> None:
        self.part = part
        self.opened_after = -1  # the step whose feedback opened the gate; -1: none yet
        self._tasks, self._budget = tasks, budget
        self._seen: deque[float] = deque(maxlen=part.window)
        self._step = 0

    def next(self, step: int) -> Request:
        """The request of this step (from 1)."""
        self._step = step
        waiting = self.opened_after < 0 and step <= self._budget.critic_warmup_steps
        stage = WARMUP if waiting else TRAIN
        return Request(step, self._budget.prompts_per_step, self._budget.samples_per_prompt, self._budget.limits, stage)

    def draw(self, count: int) -> tuple[Task, ...]:
        """The next `count` training tasks."""
        return tuple(self._tasks.next() for _ in range(count))

    def feedback(self, metrics: Sequence[Metric]) -> None:
        """What the step's panel said. A metric that is not there, or no number, is no step of the window."""
        if self.opened_after >= 0:
            return
        self._seen += [m.value for m in metrics if m.name == self.part.metric and math.isfinite(m.value)]
        full = len(self._seen) == self.part.window
        if full and math.fsum(self._seen) / self.part.window >= self.part.quality:
            self.opened_after = self._step

    def state_dict(self) -> dict[str, Any]:
        return self._tasks.state_dict() | {"seen": list(self._seen), "opened_after": self.opened_after}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tasks.load_state_dict(state)
        self._seen = deque(state["seen"], maxlen=self.part.window)
        self.opened_after = int(state["opened_after"])
