"""CorVer: an outcome, and for each sentence whether a corpus holds its words together, as two objectives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from critica.environments.base import Environment
from critica.records.supervision import Outcome, Scale, Scored, TextSpan, Verdict
from critica.rewards.base import AroundSource, RewardConfig, RewardSource, ScoreRequest
from critica.rewards.corpus_index import WINDOW, CorpusIndex
from critica.rewards.corver_query import ContentWords, QueryExtractor, worth_of
from critica.rewards.sentences import sentence_spans
from critica.rewards.verifiers import EnvironmentScorer, Verifier
from critica.rewards.workers import WorkerLimits

JUDGE, FACTS = "judge", "facts"
SHIPPED = Path(__file__).resolve().parent.parent / "assets" / "corver_corpus.txt"
RIGHT, WRONG = 2.0, -1.0


@dataclass(frozen=True)
class CorVer(RewardConfig):
    """Two objectives. `judge`: judge_weight * (2 for right, -1 for wrong, between them in proportion) by `then`.
    `facts`: the mean over the answer's characters of what their sentence is worth, shared out to its words.

    A sentence is worth 0 if it makes no claim that can be looked up, else by the windows of the corpus that hold all
    words of the claim: none -.3, less than 5 -.1, less than 20 nothing, else +.1 (`bounds`, `worths`). `corpus` is a
    text file (paragraphs parted by blank lines; empty: a few lines that ship, for trying out only), `index` a folder
    where its index is kept. With advantage=token_reward each token is credited with its own sentence, as published;
    with advantage=outcome the same mass lands on the whole answer.

    Source: CorVer (arXiv 2605.29648, code shichengf/CorVer). Ours: the claim is taken from the whole sentence and no
    model extracts it, counts come from this index instead of Infini-gram over Wikipedia, and tags are not rewarded.
    Use it for short factual answers about what a large corpus covers; not for reasoning, where true sentences are new,
    nor with a small corpus, in which everything is unheard of. Cost: the verifier, and some lookups a sentence.
    """

    then: Verifier = field(default_factory=EnvironmentScorer)
    corpus: str = ""
    index: str = ""
    window: int = WINDOW
    bounds: tuple[int, ...] = (1, 5, 20)
    worths: tuple[float, ...] = (-0.3, -0.1, 0.0, 0.1)
    judge_weight: float = 1.0

    def __post_init__(self) -> None:
        if len(self.worths) != len(self.bounds) + 1 or list(self.bounds) != sorted(set(self.bounds)):
            raise ValueError("CorVer: bounds rise, and worths has one entry more than they")
        if not min(self.worths) < max(self.worths) or not self.judge_weight > 0 or self.window < 2:
            raise ValueError("CorVer: worths differ, judge_weight is above 0 and a window holds two words or more")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "CorVerSource":  # noqa: B008
        """The live source. Raises `CorpusProblem`, FileNotFoundError."""
        index = CorpusIndex.of_file(self.corpus or SHIPPED, self.window, self.index)
        return CorVerSource(self, self.then.build(environment, limits), index, ContentWords())


class CorVerSource(AroundSource):
    """A live outcome with a corpus beside it."""

    name = "corver"

    def __init__(self, config: CorVer, then: RewardSource, index: CorpusIndex, extractor: QueryExtractor) -> None:
        self._config, self._then, self._index, self._extractor = config, then, index, extractor
        low, high = min(0.0, *config.worths), max(0.0, *config.worths)
        self.scales = (
            Scale(JUDGE, config.judge_weight * WRONG, config.judge_weight * RIGHT),
            Scale(FACTS, low - 1e-9, high + 1e-9),  # no wider than what adding up rounds
        )

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        return [
            self._verdict(item.text, outcome) for item, outcome in zip(items, self._then.scores(items), strict=True)
        ]

    def worths(self, text: str) -> list[tuple[int, int, float, int | None]]:
        """(start, end, worth, count) of each sentence; the count is None where nothing could be looked up."""
        made = []
        for start, end in sentence_spans(text):
            query = self._extractor.query(text[start:end])
            count = None if query is None else self._index.count(query)
            made.append((start, end, worth_of(count, self._config.bounds, self._config.worths), count))
        return made

    def _verdict(self, text: str, outcome: Outcome) -> Verdict:
        told = self.worths(text)
        spans = tuple(
            TextSpan(start + word.start(), start + word.end(), worth * len(word.group()) / len(text), 1)
            for start, end, worth, _ in told if worth
            for word in _words(text[start:end])
        )  # fmt: skip
        facts = sum(worth * (end - start) for start, end, worth, _ in told) / max(1, len(text))
        counts = [count for *_, count in told if count is not None]
        parts = {
            "corver/sentences": float(len(told)), "corver/looked_up": float(len(counts)),
            "corver/unheard_of": float(sum(count < self._config.bounds[0] for count in counts)),
        }  # fmt: skip
        return Verdict((self._judged(outcome), Scored(facts)), parts, spans)

    def _judged(self, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Scored):
            return outcome
        share = (outcome.value - self._then.low) / (self._then.high - self._then.low)
        return Scored(self._config.judge_weight * (WRONG + (RIGHT - WRONG) * share), outcome.confidence)


def _words(sentence: str) -> list[re.Match[str]]:
    """The sentence's words with the white space behind them; white space in front goes with the first."""
    return list(re.finditer(r"^\s*\S+\s*|\S+\s*", sentence))
