"""Corrections of one value at a time, without memory: each repairs one kind of error."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from critica.functional.correction import repaired, softened
from critica.records.arrays import Metric
from critica.records.supervision import Abstained, Correction, Reward, Scored
from critica.rewards.correction_base import CorrectionContext, CorrectionPart, LiveCorrection, Said, corrected
from critica.rewards.rates import (
    CorrectionProblem,
    fp64,
    unit_value,
    with_unit,
)
from critica.rewards.verifiers import compiled


@dataclass(frozen=True, slots=True)
class EachValue(CorrectionPart):
    """A correction of one value at a time, without memory."""

    def build(self, context: CorrectionContext) -> LiveCorrection:
        """Itself."""
        return self

    @abstractmethod
    def correct(self, said: Said) -> list[Reward]:
        """One reward for each, in their order."""

    def reports(self) -> tuple[Metric, ...]:
        """Nothing."""
        return ()

    def close(self) -> None:
        """Nothing to end."""


@dataclass(frozen=True, slots=True)
class Repair(EachValue):
    """min(1, told + gain * feature) below `threshold`, else as told: mends false negatives alone (2505.22653).

    The feature is the share of `phrases` (each a regular expression) that the answer's text holds.
    """

    phrases: tuple[str, ...] = ("therefore", "because", "so the", "wait", "first", "check")
    threshold: float = 0.5
    gain: float = 0.1

    def __post_init__(self) -> None:
        if not self.phrases:
            raise CorrectionProblem("repair needs phrases to look for")
        for phrase in self.phrases:
            compiled(phrase, "correction.phrases:")

    def correct(self, said: Said) -> list[Reward]:
        """By the text."""
        texts = {t.trajectory_id: t.sampled_text.lower() for g in said.groups for t in g.trajectories}
        made = []
        for reward in said.rewards:
            if not isinstance(reward.outcome, Scored):
                made.append(reward)
                continue
            found = sum(re.search(phrase, texts[reward.trajectory_id]) is not None for phrase in self.phrases)
            told = unit_value(reward, said)
            value = float(repaired(fp64(told), fp64(found / len(self.phrases)), self.threshold, self.gain))
            made.append(with_unit(reward, value, said, "repair") if value != told
                        else corrected(reward, reward.outcome.value, "repair"))  # fmt: skip
        return made


@dataclass(frozen=True, slots=True)
class Soften(EachValue):
    """(1 - by) told + by / 2: label smoothing; affine, so beside group baselines with standardization it is idle."""

    by: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.by < 1.0:
            raise CorrectionProblem(f"by is {self.by}: a share, in [0, 1)")

    @property
    def affine(self) -> bool:
        return True

    def correct(self, said: Said) -> list[Reward]:
        """One at a time."""
        return [
            with_unit(reward, float(softened(fp64(unit_value(reward, said)), self.by)), said, "soften")
            if isinstance(reward.outcome, Scored) else reward
            for reward in said.rewards
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Winsorize(EachValue):
    """Values clipped to the siblings' own quantiles `at` and 1 - `at`: no sibling stands out by more than others do."""

    at: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.at < 0.5:
            raise CorrectionProblem(f"at is {self.at}: a quantile level, in [0, .5)")

    @property
    def scope(self) -> Literal["group"]:
        return "group"

    def correct(self, said: Said) -> list[Reward]:
        """Group by group."""
        home = {t.trajectory_id: g.key for g in said.groups for t in g.trajectories}
        values: dict[str, list[float]] = {}
        for reward in said.rewards:
            if isinstance(reward.outcome, Scored):
                values.setdefault(home[reward.trajectory_id], []).append(reward.outcome.value)
        bounds = {key: np.quantile(found, [self.at, 1 - self.at]) for key, found in values.items()}
        return [
            corrected(reward, float(np.clip(reward.outcome.value, *bounds[home[reward.trajectory_id]])), "winsorize")
            if isinstance(reward.outcome, Scored) else reward
            for reward in said.rewards
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unsure(EachValue):
    """Verdicts that the source itself trusts less than `least` are no verdicts: the row is unknown, never 0."""

    least: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.least <= 1.0:
            raise CorrectionProblem(f"least is {self.least}: a confidence, between 0 and 1")

    def correct(self, said: Said) -> list[Reward]:
        """By confidence."""
        made = []
        for reward in said.rewards:
            outcome = reward.outcome
            if isinstance(outcome, Scored) and outcome.confidence < self.least:
                why = Abstained(f"confidence {outcome.confidence:g} is below correction.least={self.least:g}")
                reward = Reward(
                    reward.source, reward.trajectory_id, why, reward.parts, (), reward.tampering, reward.cost,
                    Correction("unsure", outcome.value),
                )  # fmt: skip
            made.append(reward)
        return made
