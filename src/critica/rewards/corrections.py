"""Corrections that know how often a source errs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.correction import backward_corrected, forward_weights
from critica.functional.soft_policy import noise_of_rates
from critica.records.arrays import Metric
from critica.records.protocols import Stateful
from critica.records.supervision import Reward, Scale, Scored
from critica.rewards.correction_base import CorrectionContext, CorrectionPart, Said
from critica.rewards.rates import (
    Audited,
    AuditedRates,
    CorrectionProblem,
    LiveRates,
    RatesPart,
    Stated,
    two_valued,
    with_unit,
)

LEAST = 0.25  # of J: what estimated rates may multiply by is at most 1 / LEAST


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
        return ByRates("backward", self.rates.build(context), context.scale, self._value)

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
        return ByRates("forward", self.rates.build(context), context.scale, self._value)

    def _value(self, told: Float[Tensor, "n"], rho0: float, rho1: float) -> Float[Tensor, "n"]:
        return forward_weights(told, torch.full_like(told, rho1))


@dataclass(frozen=True, slots=True)
class Watched(CorrectionPart):
    """What was said is told; a share of it is checked all the same, so that the source's error rates are known live.

    The panel then shows both rates with their intervals and Youden's J with its alarm (`correction/…`), and
    `objective.penalties` may set the policy's temperature by them (`noise_entropy` with source=audited). It asks
    `rates.gold` about `rates.share` of the answers and changes nothing else.
    """

    rates: Audited = field(default_factory=Audited)

    @property
    def watches(self) -> bool:
        return True

    @property
    def affine(self) -> bool:
        return True

    @property
    def shifts(self) -> bool:
        return True

    def build(self, context: CorrectionContext) -> "Watching":
        """With live rates."""
        return Watching(self.rates.build(context), context.scale)


class ByRates:
    """Corrects a round by the rates known before it, then learns from it."""

    def __init__(
        self,
        rule: str,
        rates: LiveRates,
        scale: Scale,
        value: Callable[[Float[Tensor, "n"], float, float], Float[Tensor, "n"]],
    ) -> None:
        self.rule, self.rates, self.scale, self.value = rule, rates, scale, value

    def correct(self, said: Said) -> list[Reward]:
        """By trajectory, in order."""
        rho0, rho1 = self.rates.rates()
        known = [two_valued(reward, said) for reward in said.rewards if isinstance(reward.outcome, Scored)]
        values = iter(self.value(torch.tensor(known, dtype=torch.float64), rho0, rho1).tolist())
        made = [with_unit(reward, next(values), said, self.rule) if isinstance(reward.outcome, Scored) else reward
                for reward in said.rewards]  # fmt: skip
        self.rates.learn(said)
        return made

    def said_error(self) -> float:
        """By the rates of now."""
        return noise_of_rates(*self.rates.rates(), self.scale.low, self.scale.high)

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


class Watching:
    """Learns the rates and leaves every reward as it was said. A source that says nothing is an alarm, not an end."""

    def __init__(self, rates: AuditedRates, scale: Scale) -> None:
        self.rates, self.scale = rates, scale

    def correct(self, said: Said) -> list[Reward]:
        """The same rewards; a share of them has been checked."""
        self.rates.learn(said)
        return list(said.rewards)

    def said_error(self) -> float:
        """By the audits so far."""
        return noise_of_rates(*self.rates.estimates(), self.scale.low, self.scale.high)

    def reports(self) -> tuple[Metric, ...]:
        """The rates'."""
        return self.rates.reports()

    def close(self) -> None:
        """The gold source."""
        self.rates.close()

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return self.rates.state_dict()

    def load_state_dict(self, state: Any) -> None:
        """What `state_dict` gave."""
        self.rates.load_state_dict(state)
