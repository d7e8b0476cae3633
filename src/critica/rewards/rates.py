"""How often a source errs: as stated, or estimated while training from a small share of verdicts that are checked."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.correction import LEAST_SIGNAL, ErrorRates, NoSignal, youden
from critica.functional.random import uniforms
from critica.records.arrays import Metric
from critica.records.supervision import Reward, Scored
from critica.rewards.base import RewardConfig, RewardSource, memory_of, remind
from critica.rewards.correction_base import CorrectionContext, Said, corrected, request_of
from critica.rewards.verifiers import EnvironmentScorer

PURPOSE = "rewards.rates.audit"
ENOUGH = 50  # checked verdicts of each class before an estimate may stop a run


class CorrectionProblem(ValueError):
    """A correction cannot be applied; the text says what to change."""


class LiveRates(Protocol):
    """The rates to correct with now, and what is learned from a round of verdicts for the next."""

    def rates(self) -> tuple[float, float]: ...  # false positives, false negatives

    def learn(self, said: Said) -> None: ...

    def reports(self) -> tuple[Metric, ...]: ...

    def close(self) -> None: ...


class RatesPart(ABC):
    """Where the rates of false positives and false negatives come from."""

    @property
    def constant(self) -> bool:
        """Whether they are the same for every verdict of the run."""
        return False

    @abstractmethod
    def build(self, context: CorrectionContext) -> LiveRates:
        """The live rates."""


@dataclass(frozen=True, slots=True)
class Stated(RatesPart):
    """Rates that somebody measured before: P(told high | wrong) and P(told low | right)."""

    false_positives: float = 0.1
    false_negatives: float = 0.1

    def __post_init__(self) -> None:
        for name in ("false_positives", "false_negatives"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise CorrectionProblem(f"{name} is {getattr(self, name)}: it is a probability, between 0 and 1")
        refuse_no_signal(self.false_positives, self.false_negatives)

    @property
    def constant(self) -> bool:
        return True

    def build(self, context: CorrectionContext) -> LiveRates:
        """Itself."""
        return self

    def rates(self) -> tuple[float, float]:
        """As stated."""
        return self.false_positives, self.false_negatives

    def learn(self, said: Said) -> None:
        """Nothing."""

    def reports(self) -> tuple[Metric, ...]:
        """Nothing."""
        return ()

    def close(self) -> None:
        """Nothing to end."""


def refuse_no_signal(rho0: float, rho1: float) -> None:
    """Raise `NoSignal` where a correction would only multiply noise."""
    signal = youden(rho0, rho1)
    if signal <= LEAST_SIGNAL:
        raise NoSignal(
            f"with {rho0:g} false positives and {rho1:g} false negatives Youden's J is {signal:.3g}: what is told says"
            f" {'nothing about' if abs(signal) <= LEAST_SIGNAL else 'the opposite of'} what is true, and no correction"
            " can mend that; mend the source, or take another"
        )


@dataclass(frozen=True, slots=True)
class Audited(RatesPart):
    """Rates from audits: a random `share` of verdicts is checked by `gold`, and the counts fade by `kept` a step.

    Before anything is checked the rates are `prior` for both, which counts as `strength` checks of each class. Which
    verdicts are audited is decided by (seed, trajectory), never by what was told: the counts are unbiased. The rates
    that correct a round come from earlier rounds only.
    """

    share: float = 0.05
    gold: RewardConfig = field(default_factory=EnvironmentScorer)
    kept: float = 0.98
    prior: float = 0.1
    strength: float = 10.0

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0 or not 0.0 < self.kept <= 1.0:
            raise CorrectionProblem("share and kept must lie in (0, 1]: of verdicts, and of a step's old counts")
        if not 0.0 <= self.prior < 0.5 or self.strength <= 0:
            raise CorrectionProblem("prior must lie in [0, .5) and strength above 0")
        refuse_comparing(self.gold)

    def build(self, context: CorrectionContext) -> "AuditedRates":
        """With a gold source of its own."""
        return AuditedRates(self, self.gold.build(context.environment, context.limits))


class AuditedRates:
    """Counts of checked verdicts."""

    def __init__(self, part: Audited, gold: RewardSource) -> None:
        self.part, self.gold = part, gold
        self.counts = ErrorRates()
        self.step = 0
        self.checked = 0

    def rates(self) -> tuple[float, float]:
        """Shrunk toward the prior. Raises `NoSignal` once enough was checked and J's interval is below its least."""
        low, high = self.counts.signal_interval() if min(self.counts.wrong, self.counts.right) >= 1 else (-1.0, 1.0)
        if min(self.counts.wrong, self.counts.right) >= ENOUGH and high <= LEAST_SIGNAL:
            raise NoSignal(
                f"{self.counts.wrong + self.counts.right:.0f} audits put Youden's J of this source into"
                f" [{low:.2f}, {high:.2f}]: it says nothing about what is true, or the opposite; mend it, or stop"
            )
        return self.estimates()

    def estimates(self) -> tuple[float, float]:
        """Shrunk toward the prior, whatever they say."""
        prior, strength = self.part.prior, self.part.strength
        return self.counts.rate(0, prior, strength), self.counts.rate(1, prior, strength)

    def learn(self, said: Said) -> None:
        """Check this round's share."""
        if said.step != self.step:
            self.counts, self.step, self.checked = self.counts.faded(self.part.kept), said.step, 0
        chosen = drawn(said, self.part.share, PURPOSE)
        truths = gold_of(said, chosen, self.gold)
        pairs = [(told, truth) for told, truth in zip(chosen, truths, strict=True) if truth is not None]
        told = np.array([unit_value(reward, said) for reward, _ in pairs], dtype=np.float64)
        truth = np.array([value for _, value in pairs], dtype=np.float64)
        self.counts = self.counts.with_checked(told, truth)
        self.checked += len(pairs)

    def reports(self) -> tuple[Metric, ...]:
        """The rates with their intervals, J, and whether J's interval reaches 0 (an alarm)."""
        known = min(self.counts.wrong, self.counts.right) >= 1
        made = [Metric("correction/audits", float(self.checked), 1.0)]
        for name, rate in zip(("false_positives", "false_negatives"), self.estimates(), strict=True):
            made.append(Metric(f"correction/{name}", rate, 1.0))
        if known:
            low, high = self.counts.signal_interval()
            made += [Metric("correction/signal_low", low, 1.0), Metric("correction/signal_high", high, 1.0)]
            made.append(Metric("correction/alarm", float(low <= 0.0), 1.0))
        return tuple(made)

    def close(self) -> None:
        """End the gold source."""
        self.gold.close()

    def state_dict(self) -> dict[str, Any]:
        """The counts, and the gold source's memory."""
        counts = {"counts": list(astuple(self.counts)), "step": self.step, "checked": self.checked}
        return counts | {"gold": dict(memory_of(self.gold))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        self.counts = ErrorRates(*state["counts"])
        self.step, self.checked = state["step"], state["checked"]
        remind(self.gold, state["gold"])


def refuse_comparing(gold: RewardConfig) -> None:
    """Raise `CorrectionProblem` for a gold source that must see all siblings: it is asked about some of them."""
    if gold.scope != "sample":
        raise CorrectionProblem(
            f"gold={type(gold).__name__} compares the siblings of a prompt, and it is asked about a random share of"
            " them only: take one that judges each answer by itself"
        )


def drawn(said: Said, share: float, purpose: str) -> list[Reward]:
    """The rewards with a number that a coin of this share picks, by trajectory."""
    return [
        reward
        for reward in said.rewards
        if isinstance(reward.outcome, Scored)
        and uniforms(said.seed, purpose, said.step, reward.trajectory_id, count=1)[0] < share
    ]


def gold_of(said: Said, rewards: Sequence[Reward], gold: RewardSource) -> list[float | None]:
    """What gold says, its low as 0 and its high as 1; None where it gave no number. Right is one half or more."""
    places = {t.trajectory_id: (g, place) for g in said.groups for place, t in enumerate(g.trajectories)}
    questions = [request_of(*places[reward.trajectory_id], said.step) for reward in rewards]
    if not questions:
        return []
    totals = [verdict.total for verdict in said.ask(gold, questions)]
    width = gold.high - gold.low
    return [(total.value - gold.low) / width if isinstance(total, Scored) else None for total in totals]


def unit_value(reward: Reward, said: Said) -> float:
    """The value with the scale's low as 0 and its high as 1."""
    assert isinstance(reward.outcome, Scored)
    return (reward.outcome.value - said.scale.low) / (said.scale.high - said.scale.low)


def two_valued(reward: Reward, said: Said) -> float:
    """0 or 1. Raises `CorrectionProblem` for a third value."""
    value = unit_value(reward, said)
    if value not in (0.0, 1.0):
        raise CorrectionProblem(
            f"the reward of trajectory {reward.trajectory_id!r} is {value:g} of the way from low to high, and this"
            " correction knows two values: give the source a threshold, or take correction=audited_value"
        )
    return value


def with_unit(reward: Reward, value: float, said: Said, rule: str) -> Reward:
    """The reward with low + value * (high - low) told."""
    return corrected(reward, said.scale.low + value * (said.scale.high - said.scale.low), rule)


def fp64(value: float) -> Float[Tensor, "1"]:
    """One number as a tensor that loses nothing of it."""
    return torch.tensor([value], dtype=torch.float64)
