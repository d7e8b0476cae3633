"""Noise on the number itself: added chance, favor for a feature of the text, coarse or squeezed scales."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from critica.records.supervision import Outcome, Scored
from critica.rewards.noise_base import UNITS, Case, EachReward, NoiseProblem, Unit, shortest


@dataclass(frozen=True, slots=True)
class Additive(EachReward):
    """told = clean + scale * e: e standard normal, or Student's t with `degrees` of freedom (2: no variance at all).

    `scale` is in units of the reward. Draws are cut at `cut` scales on both sides, so that training knows a range;
    at 4 a normal loses 1 draw in 16,000, and a t with 2 degrees 1 in 17: raise it for tails that are heavy in earnest.
    Chance of mean 0 leaves the policy gradient unbiased and makes it noisier; a median or a clip does not.
    """

    scale: float = 0.5
    law: Literal["normal", "student"] = "normal"
    degrees: float = 2.0
    cut: float = 4.0
    unit: Unit = "sample"

    def __post_init__(self) -> None:
        if not (self.scale >= 0 and self.cut > 0 and self.degrees > 0):
            raise NoiseProblem("additive noise: scale cannot be negative, cut and degrees must be above 0")
        if self.unit not in UNITS:
            raise NoiseProblem(f"{self.unit!r} is no unit of noise: write {', '.join(UNITS)}")

    @property
    def name(self) -> str:
        """As `parse_noise` reads it."""
        return f"{self.law}:{shortest(self.scale)}:{self.unit}"

    @property
    def drawn_by(self) -> Unit:
        return self.unit

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """`cut` scales further on both sides."""
        return low - self.cut * self.scale, high + self.cut * self.scale

    def told(self, case: Case) -> Outcome:
        chance = case.chance()
        e = chance.standard_normal() if self.law == "normal" else chance.standard_t(self.degrees)
        return Scored(case.value + self.scale * min(self.cut, max(-self.cut, float(e))))


@dataclass(frozen=True, slots=True)
class Favor(EachReward):
    """told = clean + bonus * feature, a judge with a taste that has nothing to do with being right.

    The feature is the answer's length in tokens over `length_tokens` (at most 1), or 1 if `pattern` (a regular
    expression) is found in the text. Unlike chance it does not average out: a policy that finds it will follow it.
    """

    bonus: float = 0.3
    length_tokens: int = 256
    pattern: str = ""

    def __post_init__(self) -> None:
        if self.length_tokens < 1:
            raise NoiseProblem(f"length_tokens is {self.length_tokens}: the length that earns the whole bonus")
        read_pattern(self.pattern)

    @property
    def name(self) -> str:
        taste = f"pattern:{self.pattern}" if self.pattern else f"length:{self.length_tokens}"
        return f"favor:{shortest(self.bonus) if self.bonus >= 0 else repr(self.bonus)}:{taste}"

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """The bonus further on its side."""
        return low + min(0.0, self.bonus), high + max(0.0, self.bonus)

    def told(self, case: Case) -> Outcome:
        if self.pattern:
            feature = float(re.search(self.pattern, case.trajectory.sampled_text) is not None)
        else:
            feature = min(1.0, written_tokens(case) / self.length_tokens)
        return Scored(case.value + self.bonus * feature)


@dataclass(frozen=True, slots=True)
class Saturation(EachReward):
    """A judge that uses few grades of its scale: the clean value, rounded to `levels` grades, squeezed into a band.

    The band is the upper `band` share of the range, as of judges that are kind to everything. Order is kept up to
    ties, so that group statistics without a division by their spread shrink and with it do not.
    """

    levels: int = 5
    band: float = 0.3

    def __post_init__(self) -> None:
        if self.levels < 2 or not 0 < self.band <= 1:
            raise NoiseProblem("saturation: levels must be at least 2, and band a share in (0, 1]")

    @property
    def name(self) -> str:
        return f"saturation:{self.levels}:{shortest(self.band)}"

    def told(self, case: Case) -> Outcome:
        span = case.high - case.low
        grade = math.floor((case.value - case.low) / span * (self.levels - 1) + 0.5) / (self.levels - 1)
        return Scored(case.high - span * self.band * (1 - grade))


def written_tokens(case: Case) -> int:
    """Tokens that the policy wrote."""
    return sum(len(turn.token_ids) for turn in case.trajectory.turns if hasattr(turn, "behavior_logprobs"))


def read_pattern(pattern: str) -> None:
    """Raise `NoiseProblem` for a pattern that is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise NoiseProblem(f"{pattern!r} is no regular expression: {error}") from error
