"""What every noise model shares: whose draw decides, the clean value kept beside, and what may then be told."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import numpy as np

from critica.functional.random import generator
from critica.records.supervision import Outcome, Reward, Scored, Tampering
from critica.records.words import Group, Trajectory

Unit = Literal["sample", "group", "prompt", "batch"]
UNITS: tuple[Unit, ...] = get_args(Unit)


class NoiseProblem(ValueError):
    """A noise model cannot be applied or is not written right; the text says what to write."""


class NoiseModel(Protocol):
    """Changes what training is told, never what is measured. `reach` is what may be told when clean values lie so."""

    @property
    def name(self) -> str: ...

    def tamper(
        self, rewards: Sequence[Reward], groups: Sequence[Group], step: int, seed: int, low: float, high: float
    ) -> list[Reward]: ...

    def reach(self, low: float, high: float) -> tuple[float, float]: ...


@dataclass(frozen=True, slots=True)
class Case:
    """One clean outcome about to be told: whose it is, when, the range it comes from, and how to draw for it."""

    trajectory: Trajectory
    value: float
    step: int
    low: float
    high: float
    stream: tuple[int | str, ...]
    seed: int

    def draws(self, count: int = 1) -> np.ndarray:
        """Uniforms of whatever shares this case's unit: the same for all of a group, prompt or batch."""
        return self.chance().random(count)

    def chance(self) -> np.random.Generator:
        """The same stream, for other laws."""
        purpose, *whose = self.stream
        return generator(self.seed, str(purpose), *whose)


def identity(unit: Unit, group: Group, place: int, step: int) -> tuple[int | str, ...]:
    """What shares a draw: a sample by (step, group, place), a group, a prompt in all steps, or a whole step."""
    if unit == "prompt":
        return ("prompt", group.task.task_id)
    if unit == "batch":
        return ("batch", step)
    return ("group", step, group.key) if unit == "group" else ("sample", step, group.key, place)


@dataclass(frozen=True, slots=True)
class EachReward(ABC):
    """A model that changes one outcome at a time. Subclasses say what is told, and in which unit they draw."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The spec that names the model in the run's records."""

    @abstractmethod
    def told(self, case: Case) -> Outcome:
        """What training is told in place of the clean value."""

    @property
    def drawn_by(self) -> Unit:
        """What shares a draw."""
        return "sample"

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """What may be told when clean values lie in [low, high]."""
        return low, high

    def tamper(
        self,
        rewards: Sequence[Reward],
        groups: Sequence[Group],
        step: int,
        seed: int,
        low: float = 0.0,
        high: float = 1.0,
    ) -> list[Reward]:
        """These rewards, in their order, each `Scored` one with its `Tampering`; the others stay as they are.

        Raises `NoiseProblem` if a reward belongs to none of the groups, or was tampered with before.
        """
        places = {t.trajectory_id: (group, place) for group in groups for place, t in enumerate(group.trajectories)}
        purpose = f"rewards.noise.{type(self).__name__}"
        made = []
        for reward in rewards:
            if not isinstance(reward.outcome, Scored):
                made.append(reward)
                continue
            refuse_stranger(reward, places)
            group, place = places[reward.trajectory_id]
            stream = (purpose, *identity(self.drawn_by, group, place, step))
            case = Case(group.trajectories[place], reward.outcome.value, step, low, high, stream, seed)
            said = self.told(case)
            changed = not isinstance(said, Scored) or said.value != reward.outcome.value
            if isinstance(said, Scored):
                said = replace(said, confidence=reward.outcome.confidence)
            made.append(replace(reward, outcome=said, tampering=Tampering(self.name, reward.outcome.value, changed)))
        return made


def refuse_stranger(reward: Reward, places: object) -> None:
    """Raise `NoiseProblem` for a reward of no group, or one that another model has changed."""
    if reward.trajectory_id not in places:  # type: ignore[operator]
        raise NoiseProblem(f"the reward of trajectory {reward.trajectory_id!r} belongs to none of the groups")
    if reward.tampering is not None:
        raise NoiseProblem(f"trajectory {reward.trajectory_id!r} was tampered with before, by {reward.tampering.model}")


def two_valued(case: Case, what: str) -> bool:
    """Whether a two-valued clean outcome is the high one. Raises `NoiseProblem` for any third value."""
    if case.value not in (case.low, case.high):
        raise NoiseProblem(
            f"a reward of {case.value:g} about trajectory {case.trajectory.trajectory_id!r}, but {what} need a reward"
            f" with the two values {case.low:g} and {case.high:g}: put Binarize(threshold="
            f"{(case.low + case.high) / 2:g}) before the noise"
        )
    return case.value == case.high


def shortest(rate: float) -> str:
    """The rate as text, with as many digits as it takes to read the same number back."""
    short = f"{abs(rate):g}"  # a rate of -0.0 is 0
    return short if float(short) == rate else repr(rate)


def check_share(value: float, what: str) -> None:
    """Raise `NoiseProblem` for a probability outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise NoiseProblem(f"{what} is {value}: it is a probability, between 0 and 1")
