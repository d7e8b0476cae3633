"""Noise on the verdict: confusion between grades, a scorer of stated accuracy, missing, spurious and gamed verdicts."""

import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from critica.records.supervision import Abstained, Outcome, Scored
from critica.rewards.noise_base import (
    UNITS,
    Case,
    EachReward,
    NoiseModel,
    NoiseProblem,
    Unit,
    check_share,
    shortest,
    two_valued,
)
from critica.rewards.noise_values import read_pattern

Spur = Literal["random", "inverse", "format"]


@dataclass(frozen=True, slots=True)
class Confusion(EachReward):
    """P(told = levels[j] | clean = levels[i]) = matrix[i][j]: flips for more than two grades. Rows add up to 1.

    One uniform of the unit picks the grade by the row's cumulated probabilities; with two levels this is `Flip` up to
    which draws flip. The identity matrix is no noise.
    """

    levels: tuple[float, ...] = (0.0, 1.0)
    matrix: tuple[tuple[float, ...], ...] = ((0.8, 0.2), (0.2, 0.8))
    unit: Unit = "sample"

    def __post_init__(self) -> None:
        size = len(self.levels)
        if size < 2 or len(self.matrix) != size or any(len(row) != size for row in self.matrix):
            raise NoiseProblem(
                f"confusion of {size} levels needs a square matrix of that size, and two levels at least"
            )
        for i, row in enumerate(self.matrix):
            if any(chance < 0 for chance in row) or abs(sum(row) - 1) > 1e-9:
                raise NoiseProblem(f"row {i} of the confusion matrix is {row}: probabilities that add up to 1")
        if self.unit not in UNITS:
            raise NoiseProblem(f"{self.unit!r} is no unit of noise: write {', '.join(UNITS)}")

    @property
    def name(self) -> str:
        return f"confusion:{len(self.levels)}:{self.unit}"

    @property
    def drawn_by(self) -> Unit:
        return self.unit

    def told(self, case: Case) -> Outcome:
        if case.value not in self.levels:
            raise NoiseProblem(f"a reward of {case.value:g} is none of the levels {self.levels} of the confusion")
        row = np.cumsum(self.matrix[self.levels.index(case.value)])
        return Scored(self.levels[min(int((row <= case.draws()[0]).sum()), len(self.levels) - 1)])


@dataclass(frozen=True, slots=True)
class ScorerOfAccuracy(EachReward):
    """A scorer that is right with probability `accuracy`: told = clean if u < accuracy, else the other of two values.

    Of two answers of which one is right it prefers the right one with probability a^2 + a (1 - a) = a when ties are
    broken by a coin: for two-valued rewards pairwise accuracy and accuracy are one number (reward models of .65 to
    .85 on public sets). It draws per sample: unlike a group flip it cannot hide from group statistics.
    """

    accuracy: float = 0.72

    def __post_init__(self) -> None:
        check_share(self.accuracy, "accuracy")

    @property
    def name(self) -> str:
        return f"accuracy:{shortest(self.accuracy)}"

    def told(self, case: Case) -> Outcome:
        right = two_valued(case, "scorers of stated accuracy")
        return Scored(case.high if right == bool(case.draws()[0] < self.accuracy) else case.low)


@dataclass(frozen=True, slots=True)
class Missing(EachReward):
    """No verdict with probability `rate`: the outcome is `Abstained`, which is not a zero."""

    rate: float = 0.1
    unit: Unit = "sample"

    def __post_init__(self) -> None:
        check_share(self.rate, "the rate of missing verdicts")
        if self.unit not in UNITS:
            raise NoiseProblem(f"{self.unit!r} is no unit of noise: write {', '.join(UNITS)}")

    @property
    def name(self) -> str:
        return f"missing:{shortest(self.rate)}:{self.unit}"

    @property
    def drawn_by(self) -> Unit:
        return self.unit

    def told(self, case: Case) -> Outcome:
        return Abstained(f"withheld on purpose ({self.name})") if case.draws()[0] < self.rate else Scored(case.value)


@dataclass(frozen=True, slots=True)
class Spurious(EachReward):
    """Verdicts that do not know the answer: a coin (`random`), the opposite (`inverse`), or only the form (`format`).

    Controls for claims of robustness (2506.10947): what a policy gains from these it does not gain from supervision.
    `rate` is the coin's chance of the high value; `pattern` what `format` looks for.
    """

    kind: Spur = "random"
    rate: float = 0.5
    pattern: str = r"\d"

    def __post_init__(self) -> None:
        check_share(self.rate, "the rate of high verdicts")
        read_pattern(self.pattern)

    @property
    def name(self) -> str:
        named = {"random": f"random:{shortest(self.rate)}", "inverse": "inverse"}
        return named.get(self.kind, f"format:{self.pattern}")

    def told(self, case: Case) -> Outcome:
        if self.kind == "inverse":
            return Scored(case.low + case.high - case.value)
        if self.kind == "random":
            return Scored(case.high if case.draws()[0] < self.rate else case.low)
        return Scored(case.high if re.search(self.pattern, case.trajectory.sampled_text) else case.low)


@dataclass(frozen=True, slots=True)
class ExploitableBug(EachReward):
    """A verifier with a hole: what matches `pattern` gets the high value, right or wrong; all else is judged fairly.

    It costs nothing while the policy does not know it and everything once it does: watch the hacking gap.
    """

    pattern: str = r"(\b\d+\b)(\D+\1){2}"

    def __post_init__(self) -> None:
        read_pattern(self.pattern)

    @property
    def name(self) -> str:
        return f"bug:{self.pattern}"

    def told(self, case: Case) -> Outcome:
        return Scored(case.high if re.search(self.pattern, case.trajectory.sampled_text) else case.value)


@dataclass(frozen=True, slots=True)
class Drift(EachReward):
    """Noise that sets in over time: with probability going from `first` to `last` between two steps, `model` speaks.

    A sample outside of that share is told the truth. Linear in the step, constant before and after.
    """

    model: NoiseModel = field(default_factory=lambda: ScorerOfAccuracy(0.5))
    first: float = 0.0
    last: float = 1.0
    from_step: int = 1
    to_step: int = 100

    def __post_init__(self) -> None:
        check_share(self.first, "first")
        check_share(self.last, "last")
        if self.from_step >= self.to_step:
            raise NoiseProblem(f"drift goes from step {self.from_step} to {self.to_step}: the first must be earlier")
        if not isinstance(self.model, EachReward):
            raise NoiseProblem(
                f"drift needs a model that changes one outcome at a time, not {type(self.model).__name__}: write flips"
                " as confusion with the same rates"
            )

    @property
    def name(self) -> str:
        return f"drift:{self.model.name}:{shortest(self.first)}-{shortest(self.last)}@{self.from_step}-{self.to_step}"

    @property
    def drawn_by(self) -> Unit:
        assert isinstance(self.model, EachReward)
        return self.model.drawn_by

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """The model's."""
        return self.model.reach(low, high)

    def share(self, step: int) -> float:
        """The probability that the model speaks at this step."""
        part = min(1.0, max(0.0, (step - self.from_step) / (self.to_step - self.from_step)))
        return self.first + (self.last - self.first) * part

    def told(self, case: Case) -> Outcome:
        assert isinstance(self.model, EachReward)
        lot = Case(case.trajectory, case.value, case.step, case.low, case.high, (*case.stream, "drift"), case.seed)
        return self.model.told(case) if lot.draws()[0] < self.share(case.step) else Scored(case.value)
