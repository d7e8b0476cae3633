"""A proper score of the confidence that a response states, around the verifier that says whether it is right."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from critica.environments.base import Environment
from critica.rewards.proper_scoring_check import brier_reward, log_reward
from critica.rewards.verifiers import EnvironmentScorer, Verifier, compiled, located
from critica.rewards.wire import Judge, Program

STATED = r"confidence\W{0,4}(?:is|of|=|:)?\s*(\d{1,3}(?:\.\d+)?)(?![\d.]*\d)"


@dataclass(frozen=True)
class ProperScoring(Verifier):
    """Pays a stated confidence (`Confidence: 7`, from 0 to `steps`) by the log or the Brier rule, and being right.

    `then` sees the text without the statement and decides what is right (its threshold is .999). `bonus` is what being
    right adds to the log rule before its factor of 10. A text that states none, or one out of range, gets `malformed`;
    None is the paper's -30 for the log rule, and -1, the worst, for Brier. Sources: Rewarding Doubt (arXiv 2503.02623)
    and RLCR (arXiv 2507.16806). `critica.rewards.proper_scoring_check` has the formulas.
    """

    rule: Literal["log", "brier"] = "log"
    then: Verifier = field(default_factory=EnvironmentScorer)
    steps: float = 10.0
    bonus: float = 0.25
    malformed: float | None = None
    pattern: str = STATED

    def __post_init__(self) -> None:
        if not 0.0 < self.steps < float("inf") or not 0.0 <= self.bonus < float("inf"):
            raise ValueError("ProperScoring: steps must be above 0 and bonus at least 0, both finite")
        if compiled(self.pattern, "ProperScoring.pattern").groups < 1:
            raise ValueError("ProperScoring.pattern needs a group that holds the number")
        if isinstance(self.then, ProperScoring):
            raise ValueError("ProperScoring.then decides what is right, and a confidence is not: name another verifier")
        if self._malformed > self._least:
            raise ValueError(
                f"ProperScoring.malformed is {self._malformed:g}: above {self._least:g}, what a wrong and sure answer"
                " gets, stating nothing would pay"
            )

    @property
    def _least(self) -> float:
        return log_reward(1.0, False, self.bonus) if self.rule == "log" else brier_reward(1.0, False)

    @property
    def _malformed(self) -> float:
        if self.malformed is not None:
            return self.malformed
        return -30.0 if self.rule == "log" else -1.0

    @property
    def value_range(self) -> tuple[float, float]:
        """From malformed to right and sure."""
        return self._malformed, log_reward(1.0, True, self.bonus) if self.rule == "log" else brier_reward(1.0, True)

    def settings(self) -> Mapping[str, Any]:
        """See `proper_scoring_check.proper_scoring`."""
        return {
            "kind": "proper_scoring", "rule": self.rule, "then": self.then.settings(), "steps": self.steps,
            "bonus": self.bonus, "malformed": self._malformed, "pattern": self.pattern,
        }  # fmt: skip

    def program(self, environment: Environment) -> Program | Judge:
        """The code with the environment's scorer in it, if that is what decides."""
        return located(self.settings(), "then", self.then, environment)
