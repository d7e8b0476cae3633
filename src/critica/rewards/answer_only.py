"""What comes behind the thinking, and nothing else, is shown to the source that judges."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from critica.environments.answers import THINK, answer_start
from critica.environments.base import Environment
from critica.records.supervision import Abstained, Verdict
from critica.rewards.base import (
    AroundSource,
    RewardConfig,
    RewardSource,
    Scope,
    ScoreRequest,
    VerdictSource,
    memory_of,
    remind,
    scales_of,
    scope_of,
    verdicts_of,
)
from critica.rewards.several import Several
from critica.rewards.verifiers import EnvironmentScorer
from critica.rewards.workers import WorkerLimits


@dataclass(frozen=True)
class AnswerOnly(RewardConfig):
    """`then` judges what follows the last `closing` tag; thinking is trained on as ever, and seen by no judge.

    A text without tags is all answer. `opened`: the chat template writes the opening tag itself, so that a text without
    a closing one is a thought that never ended. Of such `then` is shown an empty answer, or (`unfinished="abstain"`)
    is not asked at all. Spans that it names keep their places in the whole text. The environment's own scorer leaves
    <think>…</think> out anyway, see `answers.extract_answer`.

    Use it around judges, reward models and functions, which else pay for eloquent thinking or find the answer in it.
    Not around `format`, which must see the tags: put each source that should not see them in one of its own.
    """

    then: RewardConfig = field(default_factory=EnvironmentScorer)
    opening: str = THINK[0]
    closing: str = THINK[1]
    opened: bool = False
    unfinished: Literal["empty", "abstain"] = "empty"

    def __post_init__(self) -> None:
        if not self.opening or not self.closing:
            raise ValueError("AnswerOnly.opening and closing are the tags around thinking: neither is empty")
        if isinstance(self.then, Several | AnswerOnly):
            raise ValueError("AnswerOnly.then is one source: put an answer_only around each of several")

    @property
    def scope(self) -> Scope:
        """That of the source inside."""
        return self.then.scope

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "AnswerSource":  # noqa: B008
        """The live source around the live one."""
        return AnswerSource(self, self.then.build(environment, limits))


class AnswerSource(AroundSource):
    """Cuts, asks, and puts spans back where they were."""

    def __init__(self, part: AnswerOnly, then: RewardSource) -> None:
        self.part, self._then = part, then
        self.name, self.scales, self.scope = then.name, scales_of(then), scope_of(then)
        self.needs = then.needs if isinstance(then, VerdictSource) else None
        self.takes_hints = isinstance(then, VerdictSource) and then.takes_hints

    def start(self, item: ScoreRequest) -> int:
        """Where the answer of this text begins."""
        return answer_start(item.text, self.part.opening, self.part.closing, self.part.opened)

    def shown(self, item: ScoreRequest) -> ScoreRequest:
        """What the source inside sees."""
        return replace(item, text=item.text[self.start(item) :])

    def silent(self, item: ScoreRequest) -> bool:
        """Whether nobody is asked about it: the thought never ended."""
        return self.part.unfinished == "abstain" and bool(item.text) and self.start(item) == len(item.text)

    def prepare(self, item: ScoreRequest, among: int) -> None:
        """Tell the source inside of the answer."""
        if isinstance(self._then, VerdictSource) and not self.silent(item):
            self._then.hint(self.shown(item), among)

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """What the source inside says of each answer."""
        asked = [item for item in items if not self.silent(item)]
        said = iter(verdicts_of(self._then, [self.shown(item) for item in asked]) if asked else [])
        return [self._nothing(item) if self.silent(item) else self._placed(item, next(said)) for item in items]

    def _placed(self, item: ScoreRequest, verdict: Verdict) -> Verdict:
        before = self.start(item)
        spans = [replace(span, start=span.start + before, end=span.end + before) for span in verdict.spans]
        return replace(verdict, spans=tuple(spans))

    def _nothing(self, item: ScoreRequest) -> Verdict:
        said = Abstained(f"the thinking of {item.trajectory_id!r} is not closed by {self.part.closing}")
        return Verdict((said,) * len(self.scales))

    def state_dict(self) -> dict[str, Any]:
        """That of the source inside."""
        return dict(memory_of(self._then))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        remind(self._then, state)
