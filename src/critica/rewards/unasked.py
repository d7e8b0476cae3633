"""No source at all, for answers whose worth the data says."""

from collections.abc import Sequence
from dataclasses import dataclass

from critica.environments.base import Environment
from critica.records.supervision import Failed, Scale, Verdict
from critica.rewards.base import RewardConfig, ScoreRequest, VerdictSource
from critica.rewards.workers import WorkerLimits


@dataclass(frozen=True)
class Unasked(RewardConfig):
    """Nobody says whether an answer is right: for protocols that tell it themselves (given, given_pairs).

    It lets a task file without a column of right answers be learned from. Whoever asks it is told of a failure, so
    that a run with a protocol that asks stops at once.
    """

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "UnaskedSource":  # noqa: B008
        """The live source."""
        return UnaskedSource()


class UnaskedSource(VerdictSource):
    """The live source."""

    name = "unasked"
    scales = (Scale("unasked", 0.0, 1.0),)

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """A failure each."""
        why = "reward=unasked was asked about an answer: take a source that judges, or protocol=given_pairs"
        return [Verdict((Failed(why),)) for _ in items]
