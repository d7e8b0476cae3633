"""Outcomes counted by name across steps: what fades with age, what is forgotten first, and how it is saved."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from critica.functional.beta import fading


@dataclass(slots=True)
class Tally:
    """`count` outcomes, `total` their sum (scaled to [0, 1]), both as faded at step `step`."""

    count: float = 0.0
    total: float = 0.0
    step: int = 0

    def faded(self, step: int, half_life_steps: float) -> tuple[float, float]:
        """(count, total) as they are worth at this step."""
        kept = fading(step - self.step, half_life_steps)
        return kept * self.count, kept * self.total

    def add(self, count: float, total: float, step: int, half_life_steps: float) -> None:
        """Let what there was fade to this step, then add."""
        old_count, old_total = self.faded(step, half_life_steps)
        self.count, self.total, self.step = old_count + count, old_total + total, step


@dataclass(slots=True)
class Tallies:
    """Tallies by name, at most `limit` of them, and one over everything.

    When there are too many, those longest without news go first (by name where equally long), down to nine tenths:
    what is forgotten depends on nothing but what was told. The state is plain JSON, exact to the last bit.
    """

    limit: int
    half_life_steps: float
    clock: int = 0
    overall: Tally = field(default_factory=Tally)
    named: dict[str, Tally] = field(default_factory=dict)

    def read(self, name: str) -> tuple[float, float]:
        """(count, total) of this name now; zeros for a stranger."""
        tally = self.named.get(name)
        return tally.faded(self.clock, self.half_life_steps) if tally is not None else (0.0, 0.0)

    def base_rate(self) -> float:
        """The mean of everything told so far, one half until something was."""
        count, total = self.overall.faded(self.clock, self.half_life_steps)
        return (total + 0.5) / (count + 1.0)

    def tick(self, news: Mapping[str, tuple[float, float]], overall: tuple[float, float]) -> None:
        """One more step: (count, total) by name, and over everything that was told in it."""
        self.clock += 1
        self.overall.add(*overall, self.clock, self.half_life_steps)
        if self.limit:
            for name, (count, total) in news.items():
                self.named.setdefault(name, Tally()).add(count, total, self.clock, self.half_life_steps)
            self._forget()

    def _forget(self) -> None:
        if len(self.named) > self.limit:
            excess = len(self.named) - max(1, self.limit * 9 // 10)
            for name in heapq.nsmallest(excess, self.named, key=lambda name: (self.named[name].step, name)):
                del self.named[name]

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain JSON."""
        return {
            "clock": self.clock,
            "overall": [self.overall.count, self.overall.total, self.overall.step],
            "named": {name: [tally.count, tally.total, tally.step] for name, tally in self.named.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` said."""
        self.clock = int(state["clock"])
        self.overall = Tally(*state["overall"])
        self.named = {name: Tally(*tally) for name, tally in state["named"].items()}
