"""How well a policy does on held-out prompts, prompt by prompt, so that two policies can be compared in pairs."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from critica.records.checks import require


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95% interval. `method` names how the interval was made."""

    estimate: float
    low: float
    high: float
    method: str

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class PromptOutcome:
    """One held-out prompt: how many scored samples, how many right, how many without a score, how long."""

    task_id: str
    source: str
    samples: int
    correct: int
    unscored: int
    tokens: int
    prompt: str = ""  # its beginning, for a reader
    reward: float | None = None  # mean of what the run's own reward says of its answers, if that was asked

    def __post_init__(self) -> None:
        require(0 <= self.correct <= self.samples, self, f"{self.task_id}: {self.correct} of {self.samples} are right")

    @property
    def share(self) -> float:
        """Right answers over scored samples; NaN when none was scored."""
        return self.correct / self.samples if self.samples else math.nan


@dataclass(frozen=True, slots=True)
class PassAtK:
    """The chance that at least one of k samples is right, over prompts with at least k scored samples."""

    k: int
    prompts: int
    interval: Interval


@dataclass(frozen=True, slots=True)
class SourceAccuracy:
    """Accuracy on the prompts of one task source."""

    source: str
    prompts: int
    interval: Interval


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    """Accuracy of one policy on held-out prompts; `temperature` 0 is greedy, and `how` always says which.

    Accuracy is the environment's word. `reward` is the mean of what `rewarded_by`, a run's own reward, says of the same
    answers, where that is somebody else; None where it was not asked, or gave no number.
    """

    environment: str
    temperature: float
    samples_per_prompt: int
    max_new_tokens: int
    seed: int
    policy_version: int
    accuracy: Interval
    pass_at_k: tuple[PassAtK, ...]
    sources: tuple[SourceAccuracy, ...]
    mean_tokens: float
    limit_share: float
    unscored: int
    prompts: tuple[PromptOutcome, ...]
    reward: Interval | None = None
    rewarded_by: str = ""

    @property
    def how(self) -> str:
        """`greedy` or `at temperature 1`: accuracy is never quoted without it."""
        return "greedy" if self.temperature == 0 else f"at temperature {self.temperature:g}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON content; `from_json` reads it back equal."""
        return asdict(self) | {"how": self.how}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "OutcomeReport":
        """The report that `to_json` wrote."""
        parts = {name: value for name, value in content.items() if name != "how"}
        parts["accuracy"] = Interval(**parts["accuracy"])
        if parts.get("reward") is not None:
            parts["reward"] = Interval(**parts["reward"])
        parts["pass_at_k"] = tuple(
            PassAtK(item["k"], item["prompts"], Interval(**item["interval"])) for item in parts["pass_at_k"]
        )
        parts["sources"] = tuple(
            SourceAccuracy(item["source"], item["prompts"], Interval(**item["interval"])) for item in parts["sources"]
        )
        parts["prompts"] = tuple(PromptOutcome(**item) for item in parts["prompts"])
        return cls(**parts)


@dataclass(frozen=True, slots=True)
class Difference:
    """`after - before` in accuracy on the same prompts, decoded the same way, in pairs."""

    before: str
    after: str
    how: str
    prompts: int
    interval: Interval

    def __str__(self) -> str:
        i = self.interval
        return f"{100 * i.estimate:+.1f} points [{100 * i.low:+.1f}, {100 * i.high:+.1f}] {self.how}"


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the steps of a run."""

    metric: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class NamedReport:
    """An evaluation under the name it was saved by."""

    name: str
    report: OutcomeReport


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a comparison needs of a run: who it is, its evaluations, its curves."""

    name: str
    recipe: str
    seed: int
    noise: str
    evaluations: tuple[NamedReport, ...]
    curves: tuple[Curve, ...]


def shared_prompts(before: OutcomeReport, after: OutcomeReport) -> tuple[tuple[float, float], ...]:
    """Shares right of the prompts that both reports scored, in the order of `before`.

    Raises unless both were decoded the same way: a greedy accuracy does not compare with a sampled one.
    """
    require(before.how == after.how, before, f"{before.how} cannot be compared with {after.how}")
    require(before.environment == after.environment, before, f"{before.environment} against {after.environment}")
    later = {prompt.task_id: prompt.share for prompt in after.prompts}
    pairs = tuple((p.share, later[p.task_id]) for p in before.prompts if p.task_id in later)
    scored = tuple((a, b) for a, b in pairs if not (math.isnan(a) or math.isnan(b)))
    require(bool(scored), before, "the two evaluations share no scored prompt: evaluate both on the same held-out set")
    return scored
