"""What all sources that ask a judge have in common: the panel, its budget as memory, what one answer cost."""

from collections.abc import Mapping
from typing import Any

from critica.rewards.base import VerdictSource
from critica.rewards.judge_panel import Panel

QUESTIONS = "judge/questions"  # the part of a verdict that says how many questions it took


class JudgedSource(VerdictSource):
    """A live source with a panel. What was spent is kept with the run's checkpoints and journal."""

    panel: Panel

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
