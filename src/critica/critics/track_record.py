"""An actor's record in words: how often it was right lately, and how it fared on this very question before."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from critica.critics.tallies import Tallies

PROMPTS, HALF_LIFE_STEPS = 4096, 100.0  # questions remembered, and how fast their outcomes fade


class TrackRecord:
    """The last `outcomes` outcomes, in [0, 1], and a fading tally of each question."""

    def __init__(self, outcomes: int) -> None:
        self.recent: deque[float] = deque(maxlen=outcomes)
        self.questions = Tallies(PROMPTS, HALF_LIFE_STEPS)

    def add(self, told: Mapping[str, Sequence[float]]) -> None:
        """One more step: the known outcomes of each question."""
        for outcomes in told.values():
            self.recent.extend(outcomes)
        news = {name: (float(len(outcomes)), float(sum(outcomes))) for name, outcomes in told.items() if outcomes}
        count, total = (sum(pair[i] for pair in news.values()) for i in (0, 1))
        self.questions.tick(news, (float(count), float(total)))

    @property
    def base_rate(self) -> float:
        """The mean of the last outcomes, one half until there is one."""
        return sum(self.recent) / len(self.recent) if self.recent else 0.5

    def in_words(self, question: str) -> str:
        """As `37% of 512`, and `, here 60% of 5` if the question was asked before; `none yet` before anything."""
        if not self.recent:
            return "none yet"
        said = f"{sum(self.recent) / len(self.recent):.0%} of {len(self.recent)}"
        count, total = self.questions.read(question)
        return said + (f", here {total / count:.0%} of {count:.0f}" if count >= 0.5 else "")

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON, exact to the last bit."""
        return {"recent": list(self.recent), "questions": self.questions.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` said."""
        self.recent = deque(state["recent"], maxlen=self.recent.maxlen)
        self.questions.load_state_dict(state["questions"])
