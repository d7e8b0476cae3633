"""The critic's passes over each step's batch, live: how many are due, and what is heard about how they went."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from critica.critics.base import Trainable, ValueCritic
from critica.critics.learned import LearnedCritic
from critica.functional.plasticity import LearningReading, replay_move
from critica.records.arrays import Metric, RewardBatch, ValuePrediction
from critica.updaters.replay_ratio import AdaptiveReplay, Replay


class ReplayRatio(Protocol):
    """Says how many passes the critic makes, and hears what came of them."""

    def passes(self) -> int: ...

    def due(self, step: int) -> bool: ...

    def hear(
        self, step: int, told: RewardBatch, values: ValuePrediction, readings: Sequence[Metric]
    ) -> tuple[Metric, ...]: ...


class FixedPasses:
    """The same number in every step; remembers nothing."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def passes(self) -> int:
        """As declared."""
        return self.epochs

    def due(self, step: int) -> bool:
        """It needs no readings."""
        return False

    def hear(
        self, step: int, told: RewardBatch, values: ValuePrediction, readings: Sequence[Metric]
    ) -> tuple[Metric, ...]:
        """Nothing to learn from it."""
        return ()


class AdaptivePasses:
    """A ratio between the part's bounds, moved by readings of how well the critic still learns.

    Fractions are owed: a ratio of 1.5 is one pass and two in turn. The state is plain JSON, exact to the last bit.
    """

    def __init__(self, part: AdaptiveReplay) -> None:
        self.part = part
        self.ratio = part.low
        self.owed = 0.0
        self.best_rank = 0.0
        self.before: LearningReading | None = None
        self.squares, self.spread = 0.0, 0.0  # of the errors and of the outcomes since the last reading

    def passes(self) -> int:
        """How many passes to make now; what is left of a fraction is owed."""
        self.owed += self.ratio
        whole = math.floor(self.owed)
        self.owed -= whole
        return whole

    def due(self, step: int) -> bool:
        """Whether readings are wanted at this step."""
        return step % self.part.every == 0

    def hear(
        self, step: int, told: RewardBatch, values: ValuePrediction, readings: Sequence[Metric]
    ) -> tuple[Metric, ...]:
        """Add this step's error to the window; where it ends, move the ratio for the steps to come."""
        ratio = Metric("critic/replay_ratio", self.ratio, 1.0)
        squares, spread = fresh_error(told, values)
        self.squares, self.spread = self.squares + squares, self.spread + spread
        if not self.due(step):
            return (ratio,)
        named = {metric.name: metric.value for metric in readings}
        error = self.squares / self.spread if self.spread > 0 else math.nan
        now = LearningReading(1 - named["critic/dormant_units"], named["critic/feature_rank"], error)
        if not math.isnan(now.rank):
            self.best_rank = max(self.best_rank, now.rank)
        if self.before is not None:
            part = self.part
            move = replay_move(
                self.before, now, self.best_rank, part.active_tolerance, part.rank_floor, part.error_tolerance
            )
            self.ratio = min(max(self.ratio * 2.0**move, part.low), part.high)
        self.before, self.squares, self.spread = now, 0.0, 0.0
        return (ratio, Metric("critic/fresh_error", error, 1.0)) if not math.isnan(error) else (ratio,)

    def state_dict(self) -> dict[str, Any]:
        """The ratio and what the next move is decided by; NaN is written as null."""
        before = self.before
        kept = None if before is None else [before.active, before.rank, before.error]
        return {
            "ratio": self.ratio,
            "owed": self.owed,
            "best_rank": self.best_rank,
            "before": kept and [None if math.isnan(value) else value for value in kept],
            "squares": self.squares,
            "spread": self.spread,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` said."""
        self.ratio, self.owed, self.best_rank = state["ratio"], state["owed"], state["best_rank"]
        self.squares, self.spread = state["squares"], state["spread"]
        kept = state["before"]
        self.before = kept and LearningReading(*(math.nan if value is None else value for value in kept))


def fresh_error(told: RewardBatch, values: ValuePrediction) -> tuple[float, float]:
    """Sums over tokens of (V - R)^2 and of (R - mean R)^2, over rows whose whole outcome R is known.

    V was predicted before anything was learned from R: on policy, every batch is held out once.
    """
    mask = values.mask & told.all_known[:, None]
    outcome = told.total.double().nan_to_num(0.0)[:, None].expand(mask.shape)[mask]
    if not outcome.numel():
        return 0.0, 0.0
    errors = values.mean.double()[mask] - outcome
    return float(errors.square().sum()), float((outcome - outcome.mean()).square().sum())


def live_replay(part: Replay, critic: ValueCritic, epochs: int) -> ReplayRatio:
    """The live ratio. Raises ValueError, with the way out, for a critic whose plasticity cannot be read."""
    if not isinstance(part, AdaptiveReplay):
        return FixedPasses(epochs)
    if not (isinstance(critic, LearnedCritic) and isinstance(critic, Trainable) and critic.has_body):
        raise ValueError(
            f"learner.replay=adaptive reads the features of a learned critic with a body of its own, and"
            f" {type(critic).__name__} is none: set critic.body=own, or learner.replay=fixed"
        )
    return AdaptivePasses(part)
