"""Which groups enter the batch: all, those whose samples fared differently, or those of a certain difficulty."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from critica.records.supervision import Reward, Scored


class AdmissionRule(ABC):
    """A stateless rule over one scored group. `max_rounds` bounds how often gather goes back for more."""

    max_rounds: int

    @property
    def shows_silent(self) -> bool:
        """Whether groups whose samples fared alike enter the batch."""
        return False

    @abstractmethod
    def rejects(self, rewards: Sequence[Reward]) -> str:
        """Why this group is rejected; empty when it passes."""


@dataclass(frozen=True, slots=True)
class AcceptAll(AdmissionRule):
    """Every group enters."""

    max_rounds: int = 1

    @property
    def shows_silent(self) -> bool:
        return True

    def rejects(self, rewards: Sequence[Reward]) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Informative(AdmissionRule):
    """Rejects groups whose known rewards are all equal: they carry no group advantage (DAPO's dynamic sampling).

    Gather draws further prompts, at most `max_rounds` times a step; after that the step is smaller.
    Source: DAPO (arXiv 2503.14476), section 3.2. It judges what was told, noise included: the trainer sees no more.
    """

    max_rounds: int = 4

    def __post_init__(self) -> None:
        if self.max_rounds < 1:
            raise ValueError("max_rounds must be at least 1")

    def rejects(self, rewards: Sequence[Reward]) -> str:
        known = {reward.outcome.value for reward in rewards if isinstance(reward.outcome, Scored)}
        return "" if len(known) > 1 else "zero_variance" if known else "no_outcome"


@dataclass(frozen=True, slots=True)
class DifficultyWindow(AdmissionRule):
    """Rejects groups whose mean known reward is at most `low` (too hard) or at least `high` (too easy).

    In the reward's own units, so for rewards between 0 and 1 the mean is an accuracy. With 0 and 1 alone and fewer than
    1 / low siblings the published window, .01 to .99, is `Informative`; narrower, it also drops prompts that are almost
    always or almost never solved, whose groups have a large standardized advantage on one sample. With graded rewards
    it keeps groups that are all equal inside the window. Like any rule that looks at the outcomes it makes the batch
    another law than the prompts': the expected gradient is that of the admitted groups. It judges what was told.

    Source: online difficulty filtering as in prime-rl and in GCPO's released code (EasyR1: filter_low .01,
    filter_high .99 on the mean score, bounds rejected too).
    """

    low: float = 0.01
    high: float = 0.99
    max_rounds: int = 4

    def __post_init__(self) -> None:
        if self.max_rounds < 1:
            raise ValueError("max_rounds must be at least 1")
        if not self.low < self.high:
            raise ValueError(f"a window needs low < high, got low={self.low} and high={self.high}")

    def rejects(self, rewards: Sequence[Reward]) -> str:
        known = [reward.outcome.value for reward in rewards if isinstance(reward.outcome, Scored)]
        if not known:
            return "no_outcome"
        mean = fsum(known) / len(known)
        return "too_hard" if mean <= self.low else "too_easy" if mean >= self.high else ""
