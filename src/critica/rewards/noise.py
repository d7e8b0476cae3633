"""Flips, the plainest noise on purpose, and no noise; for training splits only, the clean value kept beside."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from critica.functional.random import uniforms
from critica.records.supervision import Outcome, Reward, Scored, Tampering
from critica.records.words import Group
from critica.rewards.noise_base import UNITS, NoiseProblem, Unit, check_share, identity, refuse_stranger, shortest

PURPOSE = "rewards.noise.flip"


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

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """As it is."""
        return low, high


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
            check_share(rate, "a flip rate")
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
            refuse_stranger(reward, places)
            whose = identity(self.unit, *places[reward.trajectory_id], step)
            if whose not in draws:
                draws[whose] = float(uniforms(seed, PURPOSE, *whose, count=1)[0])
            told.append(self._told(reward, reward.outcome, draws[whose], low, high))
        return told

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """The two values are exchanged, so the range is the clean one's."""
        return low, high

    def _told(self, reward: Reward, outcome: Scored, draw: float, low: float, high: float) -> Reward:
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
