"""A weight that changes with the step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """From `start` at step 1 in a straight line to `end`, reached after `steps` steps and kept (0: `end` at once)."""

    start: float = 1.0
    end: float = 0.0
    steps: int = 800

    def __post_init__(self) -> None:
        if self.steps < 0 or not all(0.0 <= weight < math.inf for weight in (self.start, self.end)):
            raise ValueError("a schedule has weights of 0 or above, and no negative number of steps")

    def at(self, step: int) -> float:
        """The weight at a step, counted from 1."""
        done = min(1.0, max(0, step - 1) / self.steps) if self.steps else 1.0
        return self.start + (self.end - self.start) * done
