"""Noise on purpose: rewards flipped at a declared rate, the clean value kept beside; for training splits only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NoReturn, Protocol, get_args

from critica.functional.random import uniforms
from critica.records.supervision import Outcome, Reward, Scored, Tampering
from critica.records.words import Group

Unit = Literal["sample", "group", "prompt"]
UNITS: tuple[Unit, ...] = get_args(Unit)
PURPOSE = "rewards.noise.flip"
RATE = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


class NoiseProblem(ValueError):
    """A noise model cannot be applied or is not written right; the text says what to write."""


class NoiseModel(Protocol):
    """Changes what training is told, never what is measured."""

    @property
    def name(self) -> str: ...

    def tamper(
        self, rewards: Sequence[Reward], groups: Sequence[Group], step: int, seed: int, low: float, high: float
    ) -> list[Reward]: ...


@dataclass(frozen=True, slots=True)
class NoNoise:
    """Rewards as they are."""

    @property
    def name(self) -> str:
        """The spec."""
        return "none"

    def tamper(
        self,
        rewards: Sequence[Reward],
        groups: Sequence[Group],
        step: int,
        seed: int,
        low: float = 0.0,
        high: float = 1.0,
    ) -> list[Reward]:
        """The same rewards."""
        return list(rewards)


@dataclass(frozen=True, slots=True)
class Flip:
    """Exchange the two values of a two-valued reward, class-conditionally (Natarajan et al. 2013, eq. 1):

        P(told = high | clean = low)  = rate_low_to_high    (false positives)
        P(told = low  | clean = high) = rate_high_to_low    (false negatives)

    `unit` says what shares one uniform draw u; a value flips if u < its rate. `sample`: each trajectory, by (seed,
    step, group key, place in the group). `group`: all of a group, by (seed, step, group key). `prompt`: all
    trajectories of a task in all steps, by (seed, task id). The order of arrival changes nothing. With equal rates a
    drawn group is flipped whole. Both rates 0 reduce to no noise.
    """

    rate_low_to_high: float
    rate_high_to_low: float
    unit: Unit = "sample"

    def __post_init__(self) -> None:
        for rate in (self.rate_low_to_high, self.rate_high_to_low):
            if not 0.0 <= rate <= 1.0:
                raise NoiseProblem(f"a flip rate is {rate}: it is a probability, between 0 and 1")
        if self.unit not in UNITS:
            raise NoiseProblem(f"{self.unit!r} is no unit of flips: write {', '.join(UNITS)}")

    @property
    def name(self) -> str:
        """The spec that `parse_noise` reads back."""
        up, down = shortest(self.rate_low_to_high), shortest(self.rate_high_to_low)
        return f"flip:{up if up == down else f'{up}/{down}'}:{self.unit}"

    def tamper(
        self,
        rewards: Sequence[Reward],
        groups: Sequence[Group],
        step: int,
        seed: int,
        low: float = 0.0,
        high: float = 1.0,
    ) -> list[Reward]:
        """The rewards of these groups' trajectories, in their order, each `Scored` one with its `Tampering`.

        Raises `NoiseProblem` if a value is neither `low` nor `high`, if a reward belongs to none of the groups, or if
        it was tampered with before.
        """
        places = {
            trajectory.trajectory_id: (group, place)
            for group in groups
            for place, trajectory in enumerate(group.trajectories)
        }
        draws: dict[tuple[int | str, ...], float] = {}
        told = []
        for reward in rewards:
            if not isinstance(reward.outcome, Scored):
                told.append(reward)
                continue
            if reward.trajectory_id not in places:
                raise NoiseProblem(f"the reward of trajectory {reward.trajectory_id!r} belongs to none of the groups")
            identity = self._identity(*places[reward.trajectory_id], step)
            if identity not in draws:
                draws[identity] = float(uniforms(seed, PURPOSE, *identity, count=1)[0])
            told.append(self._told(reward, reward.outcome, draws[identity], low, high))
        return told

    def _identity(self, group: Group, place: int, step: int) -> tuple[int | str, ...]:
        if self.unit == "prompt":
            return ("prompt", group.task.task_id)
        return ("group", step, group.key) if self.unit == "group" else ("sample", step, group.key, place)

    def _told(self, reward: Reward, outcome: Scored, draw: float, low: float, high: float) -> Reward:
        if reward.tampering is not None:
            raise NoiseProblem(
                f"trajectory {reward.trajectory_id!r} was tampered with before, by {reward.tampering.model}"
            )
        value = outcome.value
        if value not in (low, high):
            raise NoiseProblem(
                f"source {reward.source!r} said {value:g} about trajectory {reward.trajectory_id!r}, but flips need a "
                f"reward with the two values {low:g} and {high:g}: put Binarize(threshold={(low + high) / 2:g}) before "
                "the noise"
            )
        flipped = draw < (self.rate_low_to_high if value == low else self.rate_high_to_low)
        said = (high if value == low else low) if flipped else value
        return replace(reward, outcome=replace(outcome, value=said), tampering=Tampering(self.name, value, flipped))


@dataclass(frozen=True, slots=True)
class Binarize:
    """high if value >= threshold, else low. Outcomes without a number stay without one."""

    threshold: float
    low: float = 0.0
    high: float = 1.0

    def apply(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes, two-valued."""
        return [
            replace(outcome, value=self.high if outcome.value >= self.threshold else self.low)
            if isinstance(outcome, Scored)
            else outcome
            for outcome in outcomes
        ]


def shortest(rate: float) -> str:
    """The rate as text, with as many digits as it takes to read the same number back."""
    short = f"{abs(rate):g}"  # a rate of -0.0 is 0
    return short if float(short) == rate else repr(rate)


def parse_noise(spec: str) -> NoiseModel:
    """`none`, `flip:RATE:UNIT`, or `flip:FALSE_POSITIVES/FALSE_NEGATIVES:UNIT`. Raises `NoiseProblem`."""
    if spec == "none":
        return NoNoise()
    parts = spec.split(":")
    if parts[0] != "flip":
        _refuse(spec, f"{parts[0]!r} is no kind of noise")
    if len(parts) != 3:
        _refuse(spec, "flips name a rate and a unit")
    rates = parts[1].split("/")
    if len(rates) > 2:
        _refuse(spec, "there are two rates at most: of false positives and of false negatives")
    if not all(RATE.fullmatch(rate) for rate in rates):
        _refuse(spec, f"{parts[1]!r} is no rate: a rate is a probability, between 0 and 1")
    numbers = [float(rate) for rate in rates]
    if not all(0.0 <= number <= 1.0 for number in numbers):
        _refuse(spec, "a rate is a probability, between 0 and 1")
    if parts[2] not in UNITS:
        _refuse(spec, f"{parts[2]!r} is no unit")
    return Flip(numbers[0], numbers[-1], parts[2])  # type: ignore[arg-type]


def _refuse(spec: str, reason: str) -> NoReturn:
    raise NoiseProblem(
        f"noise {spec!r}: {reason}. Write none, flip:0.2:group (or :sample, or :prompt for the same flip whenever a "
        "prompt comes back), or flip:0.1/0.3:group for false positives and false negatives"
    )
