"""What all sources that ask a judge have in common: the panel, its budget as memory, what one answer cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from critica.rewards.base import ScoreRequest, VerdictSource
from critica.rewards.judge_panel import Panel, Question

QUESTIONS = "judge/questions"  # the part of a verdict that says how many questions it took


class JudgedSource(VerdictSource):
    """A live source with a panel. What was spent is kept with the run's checkpoints and journal.

    `most_ahead` bounds how many questions `ahead` has for one answer (None: its task decides).
    """

    panel: Panel
    takes_hints = True
    most_ahead: int | None = 1

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """What the first round of questions will hold for this answer, whatever else is asked about."""
        return ()

    def prepare(self, item: ScoreRequest, among: int) -> None:
        """Begin to ask, as far as the budget certainly reaches."""
        self.panel.prepare(self.ahead(item), None if self.most_ahead is None else among * self.most_ahead)

    @property
    def waiting_for(self) -> str:
        """Whose answers are awaited."""
        return self.panel.waiting_for

    def state_dict(self) -> dict[str, Any]:
        """What was spent."""
        return {"questions": self.panel.questions, "tokens": self.panel.tokens}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        self.panel.questions, self.panel.tokens = int(state["questions"]), int(state["tokens"])

    def close(self) -> None:
        """End the judge."""
        self.panel.close()


def asked_parts(questions: int, values: Mapping[str, object]) -> dict[str, float]:
    """The parts of a verdict: every number that was said, and how many questions it took."""
    parts = {name: value for name, value in values.items() if isinstance(value, float)}
    return parts | ({QUESTIONS: float(questions)} if questions else {})
