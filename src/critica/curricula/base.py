"""Which tasks come next, how many samples each gets, and who learns from them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from critica.environments.base import Environment
from critica.policies.base import SampleLimits
from critica.records.arrays import Metric
from critica.records.words import Task


@dataclass(frozen=True, slots=True)
class Stage:
    """Who learns in this step."""

    name: str
    policy: bool
    critic: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What one step asks for: tasks come from the curriculum as rounds of gathering need them."""

    step: int
    prompts: int
    samples_per_prompt: int
    limits: SampleLimits
    stage: Stage


@dataclass(frozen=True, slots=True)
class Budget:
    """The step sizes that a recipe declares, as a curriculum sees them."""

    prompts_per_step: int
    samples_per_prompt: int
    limits: SampleLimits
    critic_warmup_steps: int
    has_trainable_critic: bool


class Curriculum(ABC):
    """A live curriculum: hands out requests and tasks, and can be resumed at the very next task."""

    @abstractmethod
    def next(self, step: int) -> Request: ...

    @abstractmethod
    def draw(self, count: int) -> tuple[Task, ...]: ...

    def feedback(self, metrics: Sequence[Metric]) -> None:
        """What the step's panel said, after the step and before it may be saved. Plain curricula do not listen."""
        return None

    @abstractmethod
    def state_dict(self) -> dict[str, Any]: ...

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class CurriculumPart(ABC):
    """A curriculum's configuration. `learns` says whether any weight moves in any of its steps."""

    learns: bool = True

    def most_samples(self, prompts: int, samples_per_prompt: int) -> int:
        """The most samples that it ever asks of a prompt."""
        return samples_per_prompt

    def check_admission(self, shows_silent: bool) -> None:
        """Raise ValueError if it must see groups that fared alike and admission turns them away."""
        return None

    @abstractmethod
    def build(self, environment: Environment, budget: Budget) -> Curriculum: ...
