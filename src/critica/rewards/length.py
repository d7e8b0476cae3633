"""The length of an answer as an objective of its own: nothing within bounds, a ramp down outside of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from critica.environments.base import Environment
from critica.records.supervision import Failed, Outcome, Scale, Scored, Verdict
from critica.rewards.base import RewardConfig, ScoreRequest, VerdictSource
from critica.rewards.workers import WorkerLimits

Unit = Literal["tokens", "words", "characters"]


@dataclass(frozen=True)
class Length(RewardConfig):
    """0 for an answer of `least` to `most - buffer`, from there down in a line to -1 at `most` and beyond.

    With n the length: -clamp((n - (most - buffer)) / buffer, 0, 1) - clamp((least - n) / least, 0, 1). `buffer` 0 makes
    it a step behind `most`. `most` 0: no upper bound. The ramp is DAPO's soft overlong punishment (arXiv 2503.14476,
    eq. 13), which `placement.overlong` adds to the outcome itself; as a source it is an objective beside the others:
    with a weight (`placement.combination`), a scale and a curve of its own. Tokens are those the policy wrote, of all
    turns together and its end-of-text included; words are what white space parts.

    Use it against answers that grow because length is rewarded by accident, or with `least` against ones that collapse;
    not to make answers short by force: it does not know which are right. Takes no time.
    """

    most: int
    buffer: int = 0
    least: int = 0
    unit: Unit = "tokens"

    def __post_init__(self) -> None:
        if min(self.most, self.buffer, self.least) < 0:
            raise ValueError("Length: most, buffer and least are lengths, at least 0")
        if not self.most and not self.least:
            raise ValueError("Length bounds nothing: set most (say to 256, with buffer=64) or least")
        if self.most and self.least > self.most - self.buffer:
            raise ValueError(
                f"Length: with most={self.most} and buffer={self.buffer} only lengths up to {self.most - self.buffer}"
                f" cost nothing, and least={self.least} asks for more: lower least or buffer, or raise most"
            )

    def cost(self, length: int) -> float:
        """What an answer of this length is told."""
        over = 0.0
        if self.most:
            start = self.most - self.buffer
            over = min(1.0, max(0.0, (length - start) / self.buffer)) if self.buffer else float(length > self.most)
        under = max(0.0, (self.least - length) / self.least) if self.least else 0.0
        return -over - under

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "LengthSource":  # noqa: B008
        """The live source; it needs no worker."""
        return LengthSource(self)


class LengthSource(VerdictSource):
    """Measures."""

    name = "length"
    scales = (Scale("length", -1.0, 0.0),)
    needs = frozenset[str]()

    def __init__(self, part: Length) -> None:
        self.part = part

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """One cost per answer."""
        return [Verdict((self._outcome(item),)) for item in items]

    def _outcome(self, item: ScoreRequest) -> Outcome:
        if self.part.unit == "tokens" and not item.tokens:
            return Failed(
                f"reward length counts tokens, and how many wrote the answer {item.trajectory_id!r} is not known here:"
                ' take unit="words"'
            )
        lengths = {"tokens": item.tokens, "characters": len(item.text)}
        return Scored(self.part.cost(lengths[self.part.unit] if self.part.unit in lengths else len(item.text.split())))
