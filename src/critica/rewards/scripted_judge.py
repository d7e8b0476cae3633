"""A judge without a model, for tests and benches: it knows the truth and errs as often as its matrix says."""

import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType

from critica.environments.base import Environment
from critica.functional.random import uniforms
from critica.records.supervision import Scored
from critica.records.words import Message, Task
from critica.rewards.base import RewardConfig, RewardSource, ScoreRequest
from critica.rewards.judge_base import JudgePart, JudgeReply, JudgeTrouble
from critica.rewards.judge_text import Section, plain, sections_of
from critica.rewards.workers import WorkerLimits

MOST_CANDIDATES = 200_000  # tasks looked through for a prompt
MOST_KNOWN = 100_000  # truths kept: siblings and criteria share them
UNKNOWN = Task("unknown", "", (Message("user", ""),), "")


@dataclass(frozen=True)
class ScriptedJudge(JudgePart):
    """Answers the questions of this library's rewards from the truth, through a confusion matrix.

    Of a criterion `checks[id]` says the truth, and `truth` where there is none: a verifier, asked with the whole task,
    which is found by its prompt; without one the environment's own scorer, in this process. `matrix[t][s]` is
    P(says s | truth t), for two choices or as many as a criterion has; with two, a graded answer errs by being turned
    around. Errors are counted by (seed, criterion, what is shown), so equal questions get equal answers whoever asks.
    Shares of `garbage` and `trouble` answers are prose without a verdict, and a busy server. Side by side it grades
    from 0 to 10 and adds `position_bias` to what it reads first.
    As a writer of criteria it proposes `proposals` that are not there yet, as a reader of criteria it passes all that
    do not speak of length; as a world it tells what the truth is, and as a judge it believes the world.
    """

    truth: RewardConfig | None = None
    checks: Mapping[str, RewardConfig] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    matrix: tuple[tuple[float, ...], ...] = ((1.0, 0.0), (0.0, 1.0))
    seed: int = 0
    garbage: float = 0.0
    trouble: float = 0.0
    delay_seconds: float = 0.0
    position_bias: float = 0.0
    proposals: tuple[str, ...] = ("Is the final answer right?",)

    def __post_init__(self) -> None:
        size = len(self.matrix)
        if size < 2 or any(len(row) != size or min(row) < 0 or abs(sum(row) - 1) > 1e-9 for row in self.matrix):
            raise ValueError("judge.matrix needs one row per truth, of probabilities that add up to 1")
        if not (0 <= self.garbage <= 1 and 0 <= self.trouble <= 1 and self.delay_seconds >= 0):
            raise ValueError("judge.garbage and judge.trouble are shares, and judge.delay_seconds is not negative")

    def build(self, environment: Environment, limits: WorkerLimits) -> "ScriptedClient":
        """The live judge, with the verifiers that it knows the truth from."""
        checks = {name: check.build(environment, limits) for name, check in self.checks.items()}
        truth = self.truth.build(environment, limits) if self.truth is not None else None
        return ScriptedClient(self, environment, truth, checks)


class ScriptedClient:
    """The live judge."""

    def __init__(
        self,
        part: ScriptedJudge,
        environment: Environment,
        truth: RewardSource | None,
        checks: Mapping[str, RewardSource],
    ) -> None:
        self.part, self.environment = part, environment
        self.identity = f"scripted judge {part.matrix} seed {part.seed}"
        self._truth, self._checks = truth, checks
        self._tasks: dict[str, Task] = {}
        self._looked = 0
        self._lock = threading.Lock()
        self._tried: dict[str, int] = {}
        self._known: dict[tuple[int, str, str], float] = {}  # of a source, a prompt and a text

    def complete(self, messages: Sequence[Message], draw: int, seconds: float) -> JudgeReply:
        """A reason, then the JSON that the question asks for."""
        if self.part.delay_seconds:
            time.sleep(min(self.part.delay_seconds, seconds))
            if self.part.delay_seconds > seconds:
                raise JudgeTrouble(f"scripted judge had not answered after {seconds:g} s", again=True)
        sections = sections_of(messages)
        whole = hashlib.blake2b("\0".join(m.content for m in messages).encode(), digest_size=16).hexdigest()
        with self._lock:
            attempt = self._tried[whole] = self._tried.get(whole, 0) + 1
        if uniforms(self.part.seed, "scripted_judge/trouble", whole, draw, attempt, count=1)[0] < self.part.trouble:
            raise JudgeTrouble("scripted judge is busy", again=True)
        with self._lock:
            self._tried.pop(whole)
        if uniforms(self.part.seed, "scripted_judge/garbage", whole, draw, count=1)[0] < self.part.garbage:
            return JudgeReply("I would rather not say.", 8)
        answer = self._answer(sections, draw)
        size = sum(len(message.content) for message in messages) // 4
        return JudgeReply(f"By the book. {json.dumps(answer)}", size + 16)

    def _answer(self, sections: Sequence[Section], draw: int) -> dict[str, object]:
        task = self._task(sections)
        responses = [s for s in sections if s.tag in ("response", "step")]
        criteria = [s for s in sections if s.tag == "criterion"]
        form = next((s.content for s in sections if s.tag == "answer_format"), "")
        if '"value"' in form:
            return {"value": self.environment.answer_in(task, responses[-1].content)}
        if '"scores"' in form or '"better"' in form:
            grades = [float(self._said(self._truth, task, s.content, 11, "side by side", draw)) for s in responses]
            grades[0] = min(10.0, max(0.0, grades[0] + self.part.position_bias))
            if '"better"' in form:
                return {"better": "tie" if grades[0] == grades[1] else "1" if grades[0] > grades[1] else "2"}
            return {"scores": {s.get("name"): grade for s, grade in zip(responses, grades, strict=True)}}
        if '"criteria"' in form:
            there = {plain(s.content) for s in sections if s.tag == "example"}
            return {"criteria": [text for text in self.part.proposals if plain(text) not in there]}
        if '"flags"' in form:
            length = "yes" if "long" in criteria[0].content.casefold() else "no"
            return {"flags": {"atomic": "yes", "checkable": "yes", "relevant": "yes", "length_only": length}}
        if '"outcome"' in form:
            right = self._said(self._truth, task, responses[-1].content, 2, "world", draw)
            return {"outcome": "It turned out well." if right else "It turned out badly."}
        happened = next((section.content for section in sections if section.tag == "outcome"), "")
        verdicts: dict[str, object] = {}
        for criterion in criteria:
            name, choices = criterion.get("id"), criterion.get("choices").split("|")
            source = self._checks.get(name) or self._checks.get(criterion.content) or self._truth
            if happened:
                verdicts[name] = choices[self._level(float("well" in happened), len(choices), (name, happened, draw))]
                continue
            written = "".join(section.content for section in responses)  # a step is judged where it stands
            verdicts[name] = choices[self._said(source, task, written, len(choices), name, draw)]
        return {"verdicts": verdicts}

    def _said(self, source: RewardSource | None, task: Task, text: str, levels: int, name: str, draw: int) -> int:
        """The level that the matrix makes of the true one."""
        key = (id(source), task.prompt, text)
        with self._lock:
            if key not in self._known:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[key] = self._share(source, task, text)
            share = self._known[key]
        return self._level(share, levels, (name, task.prompt, text, draw))

    def _share(self, source: RewardSource | None, task: Task, text: str) -> float:
        """How far up its range the true value lies."""
        if source is None:
            return float(self.environment.is_correct(self.environment.score(task, text)))
        outcome = source.scores([ScoreRequest(task, "judged", text)])[0]
        if not isinstance(outcome, Scored):
            raise JudgeTrouble(f"scripted judge knows no truth: {outcome}")
        return (outcome.value - source.low) / (source.high - source.low)

    def _level(self, share: float, levels: int, question: tuple[str | int, ...]) -> int:
        """The level that is said where the true one is `share` of the way up."""
        level, matrix = round(share * (levels - 1)), self.part.matrix
        die = float(uniforms(self.part.seed, "scripted_judge", *question, count=1)[0])
        if len(matrix) == levels:
            return min(levels - 1, sum(die >= heap for heap in accumulate(matrix[level])))
        if len(matrix) != 2:
            raise JudgeTrouble(f"scripted judge has a matrix for {len(matrix)} choices, not {levels}")
        right = int(share >= 0.5)
        return level if die < matrix[right][right] else levels - 1 - level

    def _task(self, sections: Sequence[Section]) -> Task:
        """The environment's task with the prompt that is shown; without one a task that says nothing."""
        prompt = next((section.content for section in sections if section.tag == "task"), None)
        if prompt is None:
            return UNKNOWN
        with self._lock:
            while prompt not in self._tasks and self._looked < MOST_CANDIDATES:
                task = self.environment.candidate(self._looked)
                self._tasks.setdefault(plain(task.prompt), task)
                self._looked += 1
        if prompt not in self._tasks:
            raise JudgeTrouble(f"scripted judge knows no task with this prompt: {prompt[:80]!r}")
        return self._tasks[prompt]

    def close(self) -> None:
        """End the verifiers."""
        for source in (self._truth, *self._checks.values()):
            if source is not None:
                source.close()
