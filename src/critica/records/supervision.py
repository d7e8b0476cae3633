"""What was said about the words: outcomes, rewards, and the noise that was injected on purpose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from critica.records.checks import require
from critica.records.words import EMPTY


@dataclass(frozen=True, slots=True)
class Scored:
    """A source gave a number. `confidence` is its own probability of being right."""

    value: float
    confidence: float = 1.0

    def __post_init__(self) -> None:
        require(math.isfinite(self.value), self, f"value {self.value} is not finite")
        require(0.0 <= self.confidence <= 1.0, self, f"confidence {self.confidence} is outside [0, 1]")


@dataclass(frozen=True, slots=True)
class Abstained:
    """A source declined to judge. Not zero: there is no number here."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A source raised, hung, or answered nonsense. Not zero: there is no number here."""

    error: str


Outcome = Scored | Abstained | Failed


@dataclass(frozen=True, slots=True)
class Scale:
    """One named objective of a source, and the range of its values."""

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        require(self.low < self.high, self, f"low {self.low} is not below high {self.high}")


@dataclass(frozen=True, slots=True)
class TextSpan:
    """Which part of an objective's value belongs to characters [start, end) of the sampled text.

    The spans of an objective are shares of its value: what they leave belongs to the answer as a whole.
    """

    start: int
    end: int
    value: float
    objective: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.start < self.end, self, f"[{self.start}, {self.end}) is not a span")
        require(math.isfinite(self.value), self, f"value {self.value} is not finite")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a source said about one trajectory: an outcome for each of its objectives, in their order.

    `parts` (criteria, sub-scores) are kept and shown and never trained on; `cost` is in the source's own unit.
    """

    outcomes: tuple[Outcome, ...]
    parts: Mapping[str, float] = field(default_factory=lambda: EMPTY, hash=False)
    spans: tuple[TextSpan, ...] = ()
    cost: float = 0.0

    @property
    def total(self) -> Outcome:
        """The sum over objectives, with the least confidence; the first outcome without a number, if there is one."""
        for outcome in self.outcomes:
            if not isinstance(outcome, Scored):
                return outcome
        known = [outcome for outcome in self.outcomes if isinstance(outcome, Scored)]
        return Scored(math.fsum(outcome.value for outcome in known), min(outcome.confidence for outcome in known))


@dataclass(frozen=True, slots=True)
class SpanScore:
    """The share of a reward's value that belongs to tokens [start, end) of the trajectory, context included."""

    start: int
    end: int
    value: float

    def __post_init__(self) -> None:
        require(0 <= self.start < self.end, self, f"[{self.start}, {self.end}) is not a span")
        require(math.isfinite(self.value), self, f"value {self.value} is not finite")


@dataclass(frozen=True, slots=True)
class Tampering:
    """Noise injected on purpose: the model that did it, the clean value, and whether it changed."""

    model: str
    clean_value: float
    flipped: bool


@dataclass(frozen=True, slots=True)
class Correction:
    """What a correction made of a verdict: the rule, and the value that was said (noise included)."""

    rule: str
    said: float


@dataclass(frozen=True, slots=True)
class Reward:
    """What one source said about one trajectory, on one of its objectives (`source` names it).

    `tampering` exists only when noise was injected, `correction` only when a correction was applied.
    """

    source: str
    trajectory_id: str
    outcome: Outcome
    parts: Mapping[str, float] = field(default_factory=lambda: EMPTY, hash=False)
    spans: tuple[SpanScore, ...] = ()
    tampering: Tampering | None = None
    cost: float = 0.0
    correction: Correction | None = None

    @property
    def said_value(self) -> float:
        """What the source said, noise included and correction not; NaN when it gave no number."""
        if self.correction is not None:
            return self.correction.said
        return self.outcome.value if isinstance(self.outcome, Scored) else math.nan

    @property
    def clean_value(self) -> float:
        """The value before tampering; NaN when the source gave none. Only `measure` may look."""
        return self.tampering.clean_value if self.tampering is not None else self.said_value


def together(rewards: Sequence[Reward]) -> Reward:
    """What was said about one trajectory on all objectives, as one: the sum, or the first that has no number.

    A single reward is itself.
    """
    first = rewards[0]
    if len(rewards) == 1:
        return first
    total = Verdict(tuple(reward.outcome for reward in rewards)).total
    clean = math.fsum(reward.clean_value for reward in rewards)
    tampered = [reward.tampering for reward in rewards if reward.tampering is not None]
    names = "+".join(dict.fromkeys(tampering.model for tampering in tampered))
    tampering = Tampering(names, clean, any(one.flipped for one in tampered)) if tampered else None
    return Reward("+".join(reward.source for reward in rewards), first.trajectory_id, total, tampering=tampering)


def by_trajectory(rewards: Sequence[Reward]) -> dict[str, tuple[Reward, ...]]:
    """The rewards of each trajectory, in the order in which they come."""
    found: dict[str, list[Reward]] = {}
    for reward in rewards:
        found.setdefault(reward.trajectory_id, []).append(reward)
    return {name: tuple(row) for name, row in found.items()}
