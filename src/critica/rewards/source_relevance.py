"""How much of a source an answer carries over, without a reference answer, and what it pays for being long (SG-SRL)."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from critica.environments.base import Environment
from critica.records.supervision import Abstained, Scale, Scored, Verdict
from critica.records.words import Task
from critica.rewards.base import RewardConfig, ScoreRequest, VerdictSource
from critica.rewards.exposure import read_needs
from critica.rewards.schedule import Schedule
from critica.rewards.workers import WorkerLimits

GRAM = 3


@dataclass(frozen=True)
class SourceRelevance(RewardConfig):
    """r = relevance(source, answer) - guard * min(1, max(0, |answer| / |source| / longest - 1)).

    `coverage` is the share of the source's character trigrams that the answer holds, each as often; `cosine` is the
    cosine of trigram counts. Coverage never falls as an answer grows, which is how a policy learns to be verbose;
    beyond `longest` times the source's length the guard takes that back, fully at twice as long. `source` is the prompt
    or info.KEY. Source: SG-SRL (arXiv 2605.29502), whose scorer is a cross-lingual reranker: trigrams only see text
    that is alike letter by letter, so this is for one language; take `reward=judge` across languages. Its recovery
    stage of supervised learning is not here.
    """

    relevance: Literal["coverage", "cosine"] = "coverage"
    source: str = "prompt"
    longest: float = 2.0
    guard: Schedule = Schedule(1.0, 1.0, 0)

    def __post_init__(self) -> None:
        if self.source != "prompt" and not self.source.startswith("info."):
            raise ValueError(f"reward.source is {self.source!r}: write prompt, or info.KEY")
        if not 0.0 < self.longest < math.inf:
            raise ValueError("reward.longest must be above 0: how many times as long as the source an answer may be")

    def build(
        self, environment: Environment, limits: WorkerLimits = WorkerLimits()  # noqa: B008
    ) -> "SourceRelevanceSource":  # fmt: skip
        """The live source, in this process: its time is bounded by the length of the text."""
        return SourceRelevanceSource(self)


class SourceRelevanceSource(VerdictSource):
    """The live source."""

    name = "source_relevance"

    def __init__(self, part: SourceRelevance) -> None:
        self.part = part
        self.needs = read_needs((part.source,))
        self.scales = (Scale(self.name, -max(part.guard.start, part.guard.end), 1.0),)

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """One answer after the other."""
        return [self._verdict(item) for item in items]

    def _verdict(self, item: ScoreRequest) -> Verdict:
        source = self._source(item.task)
        if not source.strip():
            return Verdict((Abstained(f"the task has no {self.part.source} to be carried over"),))
        relevant = coverage(source, item.text) if self.part.relevance == "coverage" else cosine(source, item.text)
        ratio = len(item.text) / len(source)
        excess = min(1.0, max(0.0, ratio / self.part.longest - 1.0))
        told = relevant - self.part.guard.at(item.step) * excess
        return Verdict((Scored(told),), {"relevance": relevant, "length_ratio": ratio, "excess": excess})

    def _source(self, task: Task) -> str:
        where = self.part.source
        return task.prompt if where == "prompt" else str(task.info.get(where.removeprefix("info."), ""))


def trigrams(text: str) -> Counter[str]:
    """Counts of the text's character trigrams, blanks squeezed, one before and one after; case does not matter."""
    padded = f" {' '.join(text.casefold().split())} "
    return Counter(padded[i : i + GRAM] for i in range(len(padded) - GRAM + 1))


def coverage(source: str, text: str) -> float:
    """sum over g of min(count in source, count in text) / count in source, over the source's trigrams."""
    wanted = trigrams(source)
    return (wanted & trigrams(text)).total() / max(1, wanted.total())


def cosine(source: str, text: str) -> float:
    """The cosine of the two counts, in [0, 1]."""
    a, b = trigrams(source), trigrams(text)
    dot = sum(count * b[gram] for gram, count in a.items())
    norm = math.sqrt(sum(c * c for c in a.values()) * sum(c * c for c in b.values()))
    return min(1.0, dot / norm) if norm else 0.0
