"""A run's own records: what it is, how far it came, what one step held, and where every sample went."""

from dataclasses import dataclass
from typing import Literal

from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch, ValuePrediction
from critica.records.checks import require
from critica.records.supervision import Reward
from critica.records.words import Group

LedgerState = Literal["trained", "masked", "filtered", "failed"]
LEDGER_STATES: tuple[LedgerState, ...] = ("trained", "masked", "filtered", "failed")
FORMAT = 1


@dataclass(frozen=True, slots=True)
class RunManifest:
    """What identifies a run beside its config: versions, seed, machine, and the run that it continues."""

    recipe: str
    seed: int
    critica_version: str
    torch_version: str
    python_version: str
    machine: str
    threads: int
    created_at: str
    policy: str = ""
    environment: str = ""
    noise: str = "none"
    parent_run: str = ""
    critic_from: str = ""  # the folder whose fitted critic this run started from
    run_id: str = ""  # what tells this run's checkpoints from those of another
    format: int = FORMAT

    def __post_init__(self) -> None:
        require(bool(self.recipe), self, "recipe is empty")
        require(self.threads > 0, self, f"threads is {self.threads}")


@dataclass(frozen=True, slots=True)
class Progress:
    """What a resume must know beside the weights. `step` counts finished steps; the next one is `step + 1`.

    `prompts` and `samples` are those that the ledger accounts for, whatever became of them. `skipped` steps taught
    nothing because a number was not finite, the last `skipped_in_a_row` of them without one between that did.
    """

    step: int = 0
    policy_version: int = 0
    prompts: int = 0
    samples: int = 0
    sampled_tokens: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0

    def __post_init__(self) -> None:
        for name in ("step", "policy_version", "prompts", "samples", "sampled_tokens", "skipped", "skipped_in_a_row"):
            require(getattr(self, name) >= 0, self, f"{name} is negative")


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """Where one sample went, and why; a prompt's own entry has an empty `trajectory_id`.

    trained: in the loss. masked: in the batch with weight 0. filtered: scored, rejected before the batch.
    failed: it has no outcome.
    """

    trajectory_id: str
    task_id: str
    state: LedgerState
    reason: str = ""

    def __post_init__(self) -> None:
        require(self.state in LEDGER_STATES, self, f"state {self.state!r} is none of {', '.join(LEDGER_STATES)}")
        require(bool(self.task_id), self, "task_id is empty")
        require(self.state == "trained" or bool(self.reason), self, f"{self.state} needs a reason")

    @property
    def kind(self) -> Literal["prompt", "sample"]:
        """Whether this line counts a prompt or a sample."""
        return "sample" if self.trajectory_id else "prompt"


@dataclass(frozen=True, slots=True)
class Fault:
    """A number that was not finite, where it appeared, and which trajectories it touches (all, if it has no rows).

    `digest` is of the offending tensor's bytes: a replay that finds the same fault finds the same digest.
    """

    stage: str
    quantity: str
    bad: int
    size: int
    rows: tuple[str, ...]
    digest: str

    @property
    def sentence(self) -> str:
        """What happened, where."""
        shown = ", ".join(self.rows[:3]) + (" and others" if len(self.rows) > 3 else "")
        where = f" (trajectories {shown})" if self.rows else ""
        return f"{self.bad:,} of {self.size:,} numbers of {self.quantity} are not finite, found in {self.stage}{where}"


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """A clock reading of one stage of a step. No part of a run's identity."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Everything that one step held, as the run folder keeps it.

    `tokens[n]` are the texts of row n's valid tokens, prompt included. Rows of `batch`, `told`, `values`, `credit`
    agree; `groups` and `rewards` are matched to rows by trajectory id.
    """

    step: int
    groups: tuple[Group, ...]
    rewards: tuple[Reward, ...]
    told: RewardBatch
    values: ValuePrediction
    credit: Advantages
    batch: TokenBatch
    metrics: tuple[Metric, ...]
    tokens: tuple[tuple[str, ...], ...]
    ledger: tuple[LedgerEntry, ...]
    seconds: tuple[StageSeconds, ...] = ()

    def __post_init__(self) -> None:
        require(self.step >= 0, self, f"step {self.step} is negative")
        require(len(self.tokens) == self.batch.rows, self, f"{len(self.tokens)} token texts, {self.batch.rows} rows")
        for row, (texts, length) in enumerate(zip(self.tokens, self.batch.lengths.tolist(), strict=True)):
            require(len(texts) == length, self, f"row {row} has {length} tokens and {len(texts)} token texts")
        known = {trajectory.trajectory_id for group in self.groups for trajectory in group.trajectories}
        strangers = [name for name in self.batch.trajectory_ids if name not in known]
        require(not strangers, self, f"rows {strangers[:3]} are in no group")
        names = [metric.name for metric in self.metrics]
        require(len(set(names)) == len(names), self, "a metric is named twice: merge_metrics adds them")
        self._require_counted_once()

    def _require_counted_once(self) -> None:
        """In = trained + masked + filtered + failed: every sample has exactly one ledger entry."""
        counted = [entry.trajectory_id for entry in self.ledger if entry.kind == "sample"]
        twice = {name for name in counted if counted.count(name) > 1} if len(set(counted)) < len(counted) else set()
        require(not twice, self, f"the ledger counts {sorted(twice)[:3]} more than once")
        missing = sorted(set(self.batch.trajectory_ids) - set(counted))
        require(not missing, self, f"the ledger does not count {missing[:3]}")
