"""Noise that must know the tasks: what a model is handed where the run's parts meet."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from critica.environments.base import Environment
from critica.policies.base import Policy, SampleLimits
from critica.rewards.base import RewardSource
from critica.rewards.noise_base import NoiseModel


@dataclass(frozen=True, slots=True)
class NoiseContext:
    """The run's tasks, the source that judges them, and the policy as it was before any training.

    `initial` gives a copy of its own, and is called before a checkpoint is loaded or not at all.
    """

    environment: Environment
    source: RewardSource
    initial: Callable[[], Policy]
    limits: SampleLimits


@runtime_checkable
class Bindable(Protocol):
    """A noise model that can tell nothing before it knows the tasks."""

    def bound(self, context: NoiseContext) -> NoiseModel: ...


def bind(noise: NoiseModel, context: NoiseContext) -> NoiseModel:
    """The model that tampers in this run: itself, unless it asks to be bound."""
    return noise.bound(context) if isinstance(noise, Bindable) else noise
