"""How often a critic learns from one step's batch: a fixed number of passes, or more of them while it stays plastic."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FixedReplay:
    """`learner.critic_epochs` passes over the batch of every step."""

    @property
    def most(self) -> float:
        """Passes a step beyond those that `critic_epochs` asks for: none."""
        return 1.0


@dataclass(frozen=True, slots=True)
class AdaptiveReplay:
    """Between `low` and `high` passes over each step's batch: twice as many while learning goes well, half if not.

    Every `every` steps three readings are compared with those before: the share of active units (1 - dormant), the
    effective rank of the features that the head reads, and the error on fresh answers, E(V - R)^2 / Var R with V as
    predicted before the critic learned from them: a held-out error that costs nothing. The ratio doubles if the error
    fell and the active share is steady within `active_tolerance`; it halves if the active share fell by more, the rank
    is below `rank_floor` times its best so far, or the error rose by more than `error_tolerance` of itself; else it
    stays. It starts at `low`. A ratio below 1 skips steps: 0.5 is every second one.

    Adaptive RR (arXiv 2310.07418) switches once from 0.5 to 2 updates per step of the environment when two readings
    of the active share, 50 episodes apart, differ by at most 0.001 (released code), and never back. Ours may go back,
    and hears rank and error as well: the units of the paper are ReLUs, while the states that a transformer's head
    reads are normed and almost never dormant, so that here rank and error decide.
    Passes are over the step's own batch and not over earlier ones: those would teach the values of policies that are
    gone, a bias of the order of how far the policy moved since. More passes teach the noise of this batch instead:
    the error on fresh answers is what notices.
    Use it where answers are dear and the critic's pass is cheap, with a critic that has a body of its own. Costs the
    passes (at most `high`), and one small forward pass without gradient at each reading.
    """

    low: float = 1.0
    high: float = 4.0
    every: int = 10
    active_tolerance: float = 0.001
    rank_floor: float = 0.5
    error_tolerance: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"replay needs 0 < low <= high passes a step, got low={self.low}, high={self.high}")
        if self.every < 1:
            raise ValueError(f"replay.every counts steps between two readings, at least 1, got {self.every}")
        if self.active_tolerance < 0 or self.error_tolerance < 0 or not 0 <= self.rank_floor <= 1:
            raise ValueError("replay's tolerances cannot be negative, and rank_floor is a share of the best rank")

    @property
    def most(self) -> float:
        """The most passes that a step may take."""
        return self.high


Replay = FixedReplay | AdaptiveReplay
