"""Which groups enter the batch: all of them, or only those whose samples fared differently."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from critica.records.supervision import Reward, Scored


class AdmissionRule(ABC):
    """A stateless rule over one scored group. `max_rounds` bounds how often gather goes back for more."""

    max_rounds: int

    @abstractmethod
    def rejects(self, rewards: Sequence[Reward]) -> str:
        """Why this group is rejected; empty when it passes."""


@dataclass(frozen=True, slots=True)
class AcceptAll(AdmissionRule):
    """Every group enters."""

    max_rounds: int = 1

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
