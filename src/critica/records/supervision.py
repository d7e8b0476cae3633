"""What was said about the words: outcomes, rewards, and the noise that was injected on purpose."""

import math
from collections.abc import Mapping
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
class SpanScore:
    """A score for tokens [start, end) of the trajectory."""

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
class Reward:
    """What one source said about one trajectory. `tampering` exists only when noise was injected."""

    source: str
    trajectory_id: str
    outcome: Outcome
    parts: Mapping[str, float] = field(default_factory=lambda: EMPTY, hash=False)
    spans: tuple[SpanScore, ...] = ()
    tampering: Tampering | None = None
    cost: float = 0.0

    @property
    def clean_value(self) -> float:
        """The value before tampering; NaN when the source gave none. Only `measure` may look."""
        if self.tampering is not None:
            return self.tampering.clean_value
        return self.outcome.value if isinstance(self.outcome, Scored) else math.nan
