"""What tests of judges share: a small game, its items, and judges that are written down."""

from dataclasses import dataclass, field

from critica.environments.arithmetic import Arithmetic
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.judge_base import Asking, JudgePart, JudgeReply, JudgeTrouble
from critica.rewards.judge_panel import Panel
from critica.rewards.judge_text import sections_of
from critica.rewards.verifiers import Numeric

ENVIRONMENT = Arithmetic(1).build(0)
NUMBER = Numeric()
QUICK = Asking(concurrency=4, call_seconds=5.0, batch_seconds=20.0, retries=2, backoff_seconds=0.01)


def requests(count=4, right=(True, False), group="g", step=1):
    """Right and wrong answers to the first tasks, in turns."""
    made = []
    for i in range(count):
        task = ENVIRONMENT.candidate(i)
        good = right[i % len(right)]
        made.append(
            ScoreRequest(task, f"t{i}", task.answer if good else str(int(task.answer) + 1), f"{group}{i}", step)
        )
    return made


def siblings(texts, task=None, group="g", step=1):
    """Answers to one task."""
    task = task or Task("t", "e", (Message("user", "a question"),), "GOLD-1234", {"secret": "GOLD-5678"})
    return [ScoreRequest(task, f"{group}/{i}", text, group, step) for i, text in enumerate(texts)]


@dataclass
class Told:
    """A client whose answers are a function of the question's sections; it remembers what it was shown."""

    rule: object
    identity: str = "told"
    shown: list = field(default_factory=list)

    def complete(self, messages, draw, seconds):
        self.shown.append("\n".join(message.content for message in messages))
        said = self.rule(sections_of(messages))
        if isinstance(said, Exception):
            raise said
        return JudgeReply(said, 10)

    def close(self):
        return None


@dataclass(frozen=True)
class ToldJudge(JudgePart):
    """The part whose client is this one."""

    client: object

    def build(self, environment, limits):
        return self.client


def panel(rule, asking=QUICK):
    return Panel(Told(rule), asking)


__all__ = ["ENVIRONMENT", "NUMBER", "QUICK", "JudgeTrouble", "Told", "ToldJudge", "panel", "requests", "siblings"]
