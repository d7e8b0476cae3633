"""How good a critic is on fresh states: readings beside their noise floors, slices, reliability, and every state."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

from critica.records.checks import RecordError, require

Better = Literal["zero", "low", "high", "none"]


@dataclass(frozen=True, slots=True)
class ReadingDefinition:
    """One number of the panel: what it is, in which unit, and where its best value lies."""

    name: str
    unit: str
    better: Better
    sentence: str


# name | unit | best | sentence
_TABLE = """
bias | reward | zero | Mean of value - truth; above 0 the critic expects too much.
mse | reward² | low | Mean of (value - truth)² less the measured truth's noise: unbiased, so it may fall below 0.
mae | reward | low | Mean of |value - measured truth|; its floor is what a perfect critic would read here.
explained_variance | share | high | 1 - Var(truth - value) / Var(truth), both freed from noise; 0: a constant does so.
within_mae | reward | low | Mean of |value - truth|, each prompt's mean taken out of both: beyond any group mean.
within_explained | share | high | Explained variance inside prompts; 0: the value collapsed to a mean of the prompt.
rank_within | correlation | high | Mean over prompts of Spearman's correlation of value and truth inside the prompt.
rank_across | correlation | high | Spearman's correlation over prompts of mean value and mean truth.
brier | reward² | low | Mean of (value - outcome)² over fresh outcomes; its floor is the outcomes' own variance.
brier_skill | share | high | 1 - Brier / Brier of the best constant; its ceiling is what the truth itself would reach.
ece | reward | low | |mean value - mean truth| in ten equal bins of value, weighted by the states in each.
crps | reward | low | Continuous ranked probability score of the law at fresh outcomes; a point's is its error.
w1 | reward | low | Wasserstein-1 distance of the predicted law and the law of fresh outcomes.
coverage_80 | share | none | Fresh outcomes inside the law's 10% to 90% interval; more than .8 if few values occur.
coverage_50 | share | none | Fresh outcomes inside the law's 25% to 75% interval.
snr_outcome | ratio | high | r²/(1-r²), r the correlation of outcome - value with the true change of value.
snr_change | ratio | high | The same for the change of the value itself as credit.
"""


def _read(table: str) -> Mapping[str, ReadingDefinition]:
    rows = [[cell.strip() for cell in line.split(" | ")] for line in table.strip().splitlines()]
    return MappingProxyType({r[0]: ReadingDefinition(r[0], r[1], r[2], r[3]) for r in rows})  # type: ignore[arg-type]


READINGS: Mapping[str, ReadingDefinition] = _read(_TABLE)


@dataclass(frozen=True, slots=True)
class Reading:
    """One number with its 95% interval over prompts, and the value that a perfect critic would read (NaN: none)."""

    name: str
    value: float
    low: float
    high: float
    floor: float

    def __post_init__(self) -> None:
        if self.name not in READINGS:
            raise RecordError(f"the panel has no reading {self.name!r}: declare it in critica/records/critic_report.py")


@dataclass(frozen=True, slots=True)
class PanelRow:
    """All readings of one predictor on the same states."""

    name: str
    about: str
    readings: tuple[Reading, ...]

    def __getitem__(self, name: str) -> Reading:
        for reading in self.readings:
            if reading.name == name:
                return reading
        raise KeyError(f"row {self.name!r} has no reading {name!r}")


@dataclass(frozen=True, slots=True)
class Slice:
    """States of one kind: where in the answer, or how long the answer is."""

    label: str
    states: int
    truth: float
    value: float
    mse: float
    explained_variance: float
    group_explained_variance: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """States whose value fell into one bin: mean value and mean truth, with twice the standard error of the latter."""

    value: float
    truth: float
    error: float
    states: int


@dataclass(frozen=True, slots=True)
class AuditedState:
    """One prefix of one answer: what the critic said, and what fresh continuations say."""

    task_id: str
    answer: int
    position: int
    length: int
    value: float
    group_mean: float
    truth: float
    truth_error: float


@dataclass(frozen=True, slots=True)
class Price:
    """What the critic costs. `seconds` and `sampling_seconds` are clock readings of one batch."""

    seconds: float
    sampling_seconds: float
    tokens: int
    parameters: int
    megabytes: float


@dataclass(frozen=True, slots=True)
class CriticReport:
    """The critic panel. `policy_version` and `critic_step` say how far critic and policy are apart."""

    target: str
    critic: str
    law: str
    policy: str
    environment: str
    noise: str
    policy_version: int
    critic_step: int
    prompts: int
    samples_per_prompt: int
    continuations: int
    truth: str
    seed: int
    low: float
    high: float
    uses_own_outcome: bool
    rows: tuple[PanelRow, ...]
    by_place: tuple[Slice, ...]
    by_length: tuple[Slice, ...]
    reliability: tuple[ReliabilityBin, ...]
    plasticity: tuple[tuple[str, float], ...]
    price: Price
    states: tuple[AuditedState, ...]

    def __post_init__(self) -> None:
        require(bool(self.rows), self, "no row")
        require(bool(self.states), self, "no state")

    @property
    def age(self) -> int:
        """Updates by which the policy is ahead of the critic; negative: behind."""
        return self.policy_version - self.critic_step

    def row(self, name: str) -> PanelRow:
        """The readings of this predictor."""
        return next(row for row in self.rows if row.name == name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON content: a number that is not finite becomes null."""
        return _plain(asdict(self) | {"age": self.age})


def _plain(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    return [_plain(value) for value in content] if isinstance(content, list | tuple) else content
