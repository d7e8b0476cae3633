"""Corrections that know how often a source errs, that ask a better one, or that repair one kind of error."""

import re
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.correction import audited, backward_corrected, forward_weights, repaired, softened
from critica.records.arrays import Metric
from critica.records.protocols import Stateful
from critica.records.supervision import Abstained, Correction, Reward, Scored
from critica.rewards.base import RewardConfig, RewardSource
from critica.rewards.correction_base import CorrectionContext, CorrectionPart, LiveCorrection, Said, corrected
from critica.rewards.rates import (
    CorrectionProblem,
    LiveRates,
    RatesPart,
    Stated,
    drawn,
    gold_of,
    refuse_comparing,
    two_valued,
    unit_value,
)
from critica.rewards.verifiers import EnvironmentScorer, compiled

LEAST = 0.25  # of J: what estimated rates may multiply by is at most 1 / LEAST
AUDIT = "rewards.correction.audit"
APPEAL = "rewards.correction.appeal"


@dataclass(frozen=True, slots=True)
class Backward(CorrectionPart):
    """(told - rho0) / J for two-valued rewards: on average the clean value, at 1 / J^2 times the variance.

    arXiv 2510.00915, eq. of the backward correction; Natarajan et al. 2013. One straight line for all verdicts where
    the rates are constant: beside a group baseline and standardization it changes nothing at all, and says so. It
    matters to a learned critic, to sums with other objectives, and where rates differ or drift. J is not let below
    .25 (`least`), so that values stay within 4 times the range.
    """

    rates: RatesPart = field(default_factory=Stated)
    least: float = LEAST

    def __post_init__(self) -> None:
        if not 0.0 < self.least <= 1.0:
            raise CorrectionProblem(f"least is {self.least}: the smallest J to divide by, in (0, 1]")

    @property
    def affine(self) -> bool:
        return self.rates.constant

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """From (0 - rho0) / J to (1 - rho0) / J, at most (1 - least) / least below and 1 / least above."""
        if isinstance(self.rates, Stated):
            rho0, rho1 = self.bounded(*self.rates.rates())
            below, above = rho0 / (1 - rho0 - rho1), (1 - rho0) / (1 - rho0 - rho1)
        else:
            below, above = (1 - self.least) / self.least, 1 / self.least
        return low - below * (high - low), low + above * (high - low)

    def bounded(self, rho0: float, rho1: float) -> tuple[float, float]:
        """The rates, made so much rarer that J is `least`: biased toward what was told, and bounded."""
        signal = 1 - rho0 - rho1
        fewer = (1 - self.least) / (1 - signal) if signal < self.least else 1.0
        return rho0 * fewer, rho1 * fewer

    def build(self, context: CorrectionContext) -> "ByRates":
        """With live rates."""
        return ByRates("backward", self.rates.build(context), self._value)

    def _value(self, told: Float[Tensor, "n"], rho0: float, rho1: float) -> Float[Tensor, "n"]:
        rho0, rho1 = self.bounded(rho0, rho1)
        return backward_corrected(told, torch.full_like(told, rho0), torch.full_like(told, rho1))


@dataclass(frozen=True, slots=True)
class Forward(CorrectionPart):
    """told - (1 - rho1): the weight of arXiv 2510.00915's forward correction, which asks for false negatives alone.

    It is its own baseline, meant for `critic=no_baseline`: any centering undoes it.
    """

    rates: RatesPart = field(default_factory=Stated)

    @property
    def affine(self) -> bool:
        return self.rates.constant

    @property
    def shifts(self) -> bool:
        return self.rates.constant

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """The range, moved down by at most its own width."""
        return low - (high - low), high

    def build(self, context: CorrectionContext) -> "ByRates":
        """With live rates."""
        return ByRates("forward", self.rates.build(context), self._value)

    def _value(self, told: Float[Tensor, "n"], rho0: float, rho1: float) -> Float[Tensor, "n"]:
        return forward_weights(told, torch.full_like(told, rho1))


class ByRates:
    """Corrects a round by the rates known before it, then learns from it."""

    def __init__(
        self, rule: str, rates: LiveRates, value: Callable[[Float[Tensor, "n"], float, float], Float[Tensor, "n"]]
    ) -> None:
        self.rule, self.rates, self.value = rule, rates, value

    def correct(self, said: Said) -> list[Reward]:
        """By trajectory, in order."""
        rho0, rho1 = self.rates.rates()
        known = [two_valued(reward, said) for reward in said.rewards if isinstance(reward.outcome, Scored)]
        values = iter(self.value(torch.tensor(known, dtype=torch.float64), rho0, rho1).tolist())
        made = [with_unit(reward, next(values), said, self.rule) if isinstance(reward.outcome, Scored) else reward
                for reward in said.rewards]  # fmt: skip
        self.rates.learn(said)
        return made

    def reports(self) -> tuple[Metric, ...]:
        """The rates'."""
        return self.rates.reports()

    def close(self) -> None:
        """The rates' sources."""
        self.rates.close()

    def state_dict(self) -> dict[str, Any]:
        """The rates' memory."""
        return self.rates.state_dict() if isinstance(self.rates, Stateful) else {}

    def load_state_dict(self, state: Any) -> None:
        """What `state_dict` gave."""
        if isinstance(self.rates, Stateful):
            self.rates.load_state_dict(state)


@dataclass(frozen=True, slots=True)
class AuditedValue(CorrectionPart):
    """told + audited (gold - told) / share: unbiased for gold whatever the noise is, without knowing any rate.

    A random `share` is checked by `gold`, picked by (seed, step, trajectory); grades count as they are. The price is
    variance: (1 - share) / share times the mean squared error of what was told, and values up to 1 / share outside
    the range. Where gold itself gives no number, what was told stays.
    """

    share: float = 0.2
    gold: RewardConfig = field(default_factory=EnvironmentScorer)

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise CorrectionProblem(f"share is {self.share}: of verdicts that are checked, in (0, 1]")
        refuse_comparing(self.gold)

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """1 / share times the range to either side."""
        wide = (high - low) / self.share
        return high - wide, low + wide

    def build(self, context: CorrectionContext) -> "AskingGold":
        """With a gold source of its own."""
        return AskingGold(self.gold.build(context.environment, context.limits), self.correct_with)

    def correct_with(self, said: Said, gold: RewardSource) -> tuple[list[Reward], int]:
        """(the rewards, how many were checked)."""
        chosen = drawn(said, self.share, AUDIT)
        truths = dict(zip((r.trajectory_id for r in chosen), gold_of(said, chosen, gold), strict=True))
        made = []
        for reward in said.rewards:
            truth = truths.get(reward.trajectory_id)
            if not isinstance(reward.outcome, Scored):
                made.append(reward)
            elif truth is None:
                made.append(corrected(reward, reward.outcome.value, "audited_value"))
            else:
                values = fp64(unit_value(reward, said)), fp64(truth), torch.tensor([True])
                made.append(with_unit(reward, float(audited(*values, self.share)), said, "audited_value"))
        return made, len(chosen)


@dataclass(frozen=True, slots=True)
class Appeal(CorrectionPart):
    """A random `share` of the verdicts of one kind goes to a better source, whose word counts (2510.00915's appeals).

    `against` low: only wrong-looking answers appeal and can only gain; against high: only right-looking ones are
    checked and can only lose.
    """

    share: float = 1.0
    against: Literal["low", "high"] = "low"
    gold: RewardConfig = field(default_factory=EnvironmentScorer)

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise CorrectionProblem(f"share is {self.share}: of verdicts that appeal, in (0, 1]")
        refuse_comparing(self.gold)

    def build(self, context: CorrectionContext) -> "AskingGold":
        """With a gold source of its own."""
        return AskingGold(self.gold.build(context.environment, context.limits), self.correct_with)

    def correct_with(self, said: Said, gold: RewardSource) -> tuple[list[Reward], int]:
        """(the rewards, how many appealed)."""
        beaten = 0.0 if self.against == "low" else 1.0
        chosen = [reward for reward in drawn(said, self.share, APPEAL) if two_valued(reward, said) == beaten]
        truths = dict(zip((r.trajectory_id for r in chosen), gold_of(said, chosen, gold), strict=True))
        made = []
        for reward in said.rewards:
            truth = truths.get(reward.trajectory_id)
            made.append(reward if truth is None else with_unit(reward, float(truth >= 0.5), said, "appeal"))
        return made, len(chosen)


class AskingGold:
    """A correction with a better source at hand."""

    def __init__(self, gold: RewardSource, rule: Callable[[Said, RewardSource], tuple[list[Reward], int]]) -> None:
        self.gold, self.rule, self.asked = gold, rule, 0

    def correct(self, said: Said) -> list[Reward]:
        """By the rule."""
        made, self.asked = self.rule(said, self.gold)
        return made

    def reports(self) -> tuple[Metric, ...]:
        """How often gold was asked in the last round."""
        return (Metric("correction/audits", float(self.asked), 1.0),)

    def close(self) -> None:
        """End the gold source."""
        self.gold.close()


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


def fp64(value: float) -> Float[Tensor, "1"]:
    """One number as a tensor that loses nothing of it."""
    return torch.tensor([value], dtype=torch.float64)


def with_unit(reward: Reward, value: float, said: Said, rule: str) -> Reward:
    """The reward with low + value * (high - low) told."""
    return corrected(reward, said.scale.low + value * (said.scale.high - said.scale.low), rule)
