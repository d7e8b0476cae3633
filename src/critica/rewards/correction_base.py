"""What a correction is: it stands right after the noise, and makes something better of what was said."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from critica.environments.base import Environment
from critica.records.arrays import Metric
from critica.records.supervision import Correction, Reward, Scale, Scored, Verdict
from critica.records.words import Group
from critica.rewards.base import RewardSource, Scope, ScoreRequest
from critica.rewards.workers import WorkerLimits

Ask = Callable[[RewardSource, Sequence[ScoreRequest]], list[Verdict]]


@dataclass(frozen=True, slots=True)
class Said:
    """What was said about one objective in one round: the rewards to correct, their groups, and the objective's scale.

    `ask` asks another source about some of these answers, once: what it says is journaled.
    """

    rewards: Sequence[Reward]
    groups: Sequence[Group]
    scale: Scale
    step: int
    seed: int
    ask: Ask


class LiveCorrection(Protocol):
    """One reward for each, in their order. Those without a number stay without one unless somebody else is asked."""

    def correct(self, said: Said) -> list[Reward]: ...

    def reports(self) -> tuple[Metric, ...]: ...

    def close(self) -> None: ...


@runtime_checkable
class Reckons(Protocol):
    """A live correction that knows how often verdicts are wrong."""

    def said_error(self) -> float: ...  # the largest |E[said] - true|, in units of reward


@dataclass(frozen=True, slots=True)
class CorrectionContext:
    """What a correction is built from."""

    environment: Environment
    limits: WorkerLimits
    scale: Scale


class CorrectionPart(ABC):
    """The settings of a correction: a frozen dataclass whose `build` gives the live one."""

    @property
    def scope(self) -> Scope:
        """Whether it looks at one answer or compares siblings."""
        return "sample"

    @property
    def affine(self) -> bool:
        """Whether it maps every value by one and the same rising straight line: comparisons stay as they are."""
        return False

    @property
    def shifts(self) -> bool:
        """Whether it adds one and the same number to every value: differences stay as they are."""
        return False

    @property
    def watches(self) -> bool:
        """Whether it is there to measure, and means to change nothing."""
        return False

    @property
    def rising_in_groups(self) -> bool:
        """Whether siblings' values go through one rising straight line, each group through a line of its own."""
        return self.affine

    def of(self, objective: int) -> "CorrectionPart":
        """What is applied to this objective, counted from 0."""
        return self

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """What may be told when values lie in [low, high]."""
        return low, high

    @abstractmethod
    def build(self, context: CorrectionContext) -> LiveCorrection:
        """The live correction."""


@dataclass(frozen=True, slots=True)
class Uncorrected(CorrectionPart):
    """What was said is told."""

    def build(self, context: CorrectionContext) -> LiveCorrection:
        """Itself: it has no state."""
        return self

    def correct(self, said: Said) -> list[Reward]:
        """The same."""
        return list(said.rewards)

    def reports(self) -> tuple[Metric, ...]:
        """Nothing."""
        return ()

    def close(self) -> None:
        """Nothing to end."""


def corrected(reward: Reward, value: float, rule: str) -> Reward:
    """The reward with this value told. Spans are shares of the value, and keep their shares of the new one."""
    assert isinstance(reward.outcome, Scored)
    said = reward.outcome.value
    made = replace(reward, outcome=replace(reward.outcome, value=value), correction=Correction(rule, said))
    return with_shares(made, said)


def with_shares(reward: Reward, was: float) -> Reward:
    """The reward with its spans' shares of `was` as the same shares of its value; none where that value was 0."""
    if not reward.spans or not isinstance(reward.outcome, Scored) or reward.outcome.value == was:
        return reward
    scale = reward.outcome.value / was if was else 0.0
    return replace(reward, spans=tuple(replace(span, value=span.value * scale) for span in reward.spans))


def request_of(group: Group, place: int, step: int) -> ScoreRequest:
    """The question about one trajectory of a group."""
    trajectory = group.trajectories[place]
    return ScoreRequest(
        group.task, trajectory.trajectory_id, trajectory.sampled_text, group.key, step, trajectory.sampled_count
    )
