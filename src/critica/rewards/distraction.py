"""The task done and nothing else: instructions planted in reference text must not be executed (DistractionIF)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from critica.environments.base import Environment
from critica.rewards.verifiers import EnvironmentScorer, Verifier, located
from critica.rewards.wire import Judge, Program


@dataclass(frozen=True)
class Distraction(Verifier):
    """1 if `then` finds the task done and no distractor was executed, else 0.

    Each of the task's `info["distractors"]` brings its own detector, see `distraction_check.DETECTORS`. The paper
    (DistractionIF, arXiv 2605.29491) gives no reward: this one is ours.
    """

    then: Verifier = field(default_factory=EnvironmentScorer)

    def settings(self) -> Mapping[str, Any]:
        """See `distraction_check.distraction`."""
        return {"kind": "distraction", "then": self.then.settings()}

    def program(self, environment: Environment) -> Program | Judge:
        """The code with the environment's scorer in it, if that is what decides."""
        return located(self.settings(), "then", self.then, environment)
