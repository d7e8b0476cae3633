"""Verdicts written by hand, as a correction meets them, and a gold source that says what it is told to say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from critica.environments.base import Environment
from critica.environments.digit_sum import DigitSum
from critica.records.supervision import Abstained, Outcome, Reward, Scale, Scored
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rewards.base import RewardConfig, Scope, verdicts_of
from critica.rewards.correction_base import CorrectionContext, Said
from critica.rewards.workers import WorkerLimits

UNIT = Scale("right", 0.0, 1.0)


def context(scale: Scale = UNIT) -> CorrectionContext:
    return CorrectionContext(DigitSum().build(0), WorkerLimits(), scale)


def group(key: str, texts: Sequence[str], dataset: str = "one") -> Group:
    """Siblings `KEY.0`, `KEY.1`, … that wrote these texts."""
    task = Task(f"task {key}", "game", (Message("user", "?"),), "", {"dataset": dataset})
    prompt = ContextTurn(task.messages[0], (1,))
    members = []
    for i, text in enumerate(texts):
        turn = SampledTurn(Message("assistant", text), (2,), (-0.5,), 1.0, 0)
        name = f"{key}.{i}"
        members.append(Trajectory(name, name, task.task_id, key, "policy", (prompt, turn), StopReason.END_OF_TEXT))
    return Group(key, task, tuple(members))


def said_of(
    groups: Mapping[str, Sequence[float | Outcome | None]],
    step: int = 1,
    seed: int = 0,
    scale: Scale = UNIT,
    datasets: Mapping[str, str] | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
    spans: tuple = (),
) -> Said:
    """Groups by key with what was said of each sibling; None: it abstained."""
    texts, datasets = texts or {}, datasets or {}
    made = [
        group(key, texts.get(key, ["words"] * len(row)), datasets.get(key, "one")) for key, row in groups.items()
    ]  # fmt: skip
    rewards = []
    for one in made:
        for trajectory, value in zip(one.trajectories, groups[one.key], strict=True):
            outcome = (
                Abstained("?") if value is None else Scored(float(value)) if isinstance(value, int | float) else value
            )
            rewards.append(Reward(scale.name, trajectory.trajectory_id, outcome, spans=spans))
    return Said(rewards, made, scale, step, seed, lambda source, items: verdicts_of(source, items))


def values(rewards: Sequence[Reward]) -> list[float | None]:
    return [reward.outcome.value if isinstance(reward.outcome, Scored) else None for reward in rewards]


@dataclass(frozen=True)
class Gold(RewardConfig):
    """Says of each trajectory what stands here; what is missing it says nothing about."""

    truths: Mapping[str, float] = field(hash=False)
    low: float = 0.0
    high: float = 1.0
    compares: bool = False

    @property
    def scope(self) -> Scope:
        return "group" if self.compares else "sample"

    def build(self, environment: Environment, limits: WorkerLimits | None = None) -> "GoldSource":
        return GoldSource(self)


class GoldSource:
    """The live one; `asked` keeps what it was asked about, `open` whether nobody closed it."""

    name, busy_workers, waiting_for, warnings = "gold", 0, "", ()

    def __init__(self, part: Gold) -> None:
        self.part, self.low, self.high = part, part.low, part.high
        self.asked: list[str] = []
        self.open = True

    def scores(self, items) -> list[Outcome]:
        self.asked += [item.trajectory_id for item in items]
        known = self.part.truths
        return [Scored(known[i.trajectory_id]) if i.trajectory_id in known else Abstained("?") for i in items]

    def close(self) -> None:
        self.open = False
