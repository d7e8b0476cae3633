"""Two stages: the critic learns alone, then it is frozen and the policy learns from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from critica.curricula.base import Budget, Curriculum, CurriculumPart, Request, Stage
from critica.curricula.stream import Stream
from critica.environments.base import Environment
from critica.records.words import Task

CRITIC, POLICY = Stage("critic_alone", policy=False, critic=True), Stage("policy_alone", policy=True, critic=False)


@dataclass(frozen=True, slots=True)
class CriticThenPolicy(CurriculumPart):
    """Tasks as they come; for learner.critic_warmup_steps the critic alone learns, afterwards the policy alone.

    While the critic learns the policy stands still, so that what it is taught about is the initial policy: the
    reference. For methods whose policy is fitted to a fixed value or reward model (Direct Advantage Policy
    Optimization, distillation from preference models). Not where the value must follow the policy: use stream.
    """

    def build(self, environment: Environment, budget: Budget) -> Curriculum:
        if budget.has_trainable_critic and not budget.critic_warmup_steps:
            raise ValueError(
                "curriculum=critic_then_policy freezes the critic after learner.critic_warmup_steps, which is 0: it"
                " would never learn; set learner.critic_warmup_steps=50, or curriculum=stream"
            )
        return LiveStages(Stream().build(environment, budget), budget)


class LiveStages(Curriculum):
    """A stream whose stage says who learns."""

    def __init__(self, stream: Curriculum, budget: Budget) -> None:
        self._stream, self._budget = stream, budget

    def next(self, step: int) -> Request:
        """The request of this step (from 1)."""
        alone = self._budget.has_trainable_critic and step <= self._budget.critic_warmup_steps
        asked = self._stream.next(step)
        return replace(asked, stage=CRITIC if alone else POLICY)

    def draw(self, count: int) -> tuple[Task, ...]:
        """The next `count` training tasks."""
        return self._stream.draw(count)

    def state_dict(self) -> dict[str, Any]:
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._stream.load_state_dict(state)
