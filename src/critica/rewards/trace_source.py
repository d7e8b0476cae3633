"""TRACE: an outcome and how well the answer is argued, as two objectives."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from critica.environments.base import Environment
from critica.functional.trace import ArgumentRules, state_score, trace_score, transition_score
from critica.records.supervision import Scale, Scored, Verdict
from critica.rewards.base import AroundSource, RewardConfig, RewardSource, ScoreRequest
from critica.rewards.sentences import sentence_spans
from critica.rewards.trace_labels import ModelLabels, Phrases, SentenceClassifier, read_rules
from critica.rewards.verifiers import EnvironmentScorer, Verifier
from critica.rewards.workers import WorkerLimits

ACCURACY, TRACE = "accuracy", "trace"


@dataclass(frozen=True)
class Trace(RewardConfig):
    """Two objectives: `accuracy`, what the verifier `then` says, and `trace` in [0, 1], the argument's structure.

    trace = .7 V_state + .3 C_trans over the answer's sentences (`functional.trace`); their labels come from
    `classifier`: `phrases`, a list of connectives that ships and is no more than a baseline, or a folder of a
    transformers sequence classifier with the eight labels, each on where its sigmoid is above `threshold`. The weight
    of trace beside accuracy is placement.combination's: sum, with weights [1, .3].

    Source: TRACE (arXiv 2605.29656, ICML 2026). Ours, since not public: the allowed sets, the ideal transitions, the
    distance (total variation) and the weight. Use it for reasoning in sentences; never without an outcome: a third of
    the published labels are wrong, and structure without truth is easily learned. Cost: the verifier, and the
    classifier on every sentence.
    """

    then: Verifier = field(default_factory=EnvironmentScorer)
    classifier: str = "phrases"
    threshold: float = 0.5
    state_share: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.state_share <= 1 or not 0 < self.threshold < 1:
            raise ValueError("Trace: state_share and threshold are shares, between 0 and 1")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "TraceSource":  # noqa: B008
        """The live source. Raises `RewardModelProblem` for a classifier that is none."""
        judge = Phrases() if self.classifier == "phrases" else ModelLabels.open(self.classifier, self.threshold)
        return TraceSource(self.then.build(environment, limits), judge, read_rules(), self.state_share)


class TraceSource(AroundSource):
    """A live outcome with a sentence classifier beside it. Texts without a sentence have trace 0."""

    name = "trace"

    def __init__(
        self, then: RewardSource, classifier: SentenceClassifier, rules: ArgumentRules, state_share: float
    ) -> None:
        self._then, self._classifier, self._rules, self._share = then, classifier, rules, state_share
        self.scales = (Scale(ACCURACY, then.low, then.high), Scale(TRACE, 0.0, 1.0))

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        told = self._then.scores(items)
        cut = [[item.text[a:b] for a, b in sentence_spans(item.text)] for item in items]
        labels = iter(self._classifier.labels([sentence for sentences in cut for sentence in sentences]))
        verdicts = []
        for outcome, sentences in zip(told, cut, strict=True):
            said = [next(labels) for _ in sentences]
            parts = {
                "trace/state": state_score(said, self._rules),
                "trace/transitions": transition_score(said, self._rules),
                "trace/sentences": float(len(said)),
            }
            score = min(1.0, trace_score(said, self._rules, self._share))
            verdicts.append(Verdict((outcome, Scored(score)), parts))
        return verdicts
