"""A reward source that says again what another run was told: what cannot be repeated is compared through it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from critica.environments.base import Environment
from critica.records.journal import Answer
from critica.records.supervision import Abstained, Failed, Outcome, Scored, Verdict
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.workers import WorkerLimits
from critica.store.run_folder import RunFolder


@dataclass(frozen=True)
class Recorded(RewardConfig):
    """The answers in `path`, a JSON list as `write_answers` makes it, given by trajectory."""

    path: str

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "RecordedSource":  # noqa: B008
        """The live source."""
        answers = [Answer.from_json(line) for line in json.loads(Path(self.path).read_text())]
        return RecordedSource(answers[0].source, {answer.trajectory_id: answer.verdict.total for answer in answers})


class RecordedSource:
    """Says what was said; raises `KeyError` for a trajectory that nobody was asked about. Held-out answers, which come
    before the first step, are none of training's: it abstains."""

    low = 0.0
    high = 1.0
    busy_workers = 0
    warnings = ()

    def __init__(self, name: str, answers: Mapping[str, Outcome]) -> None:
        self.name = name
        self._answers = answers

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        """By trajectory."""
        return [self._answers[item.trajectory_id] if item.step else Abstained("held out") for item in items]

    def close(self) -> None:
        """Nothing to end."""


def answers_of(run: RunFolder, source: str) -> list[Answer]:
    """What a finished run was told about each sample, from its ledger and its rollouts (no sample was filtered)."""
    reasons = {str(e["trajectory_id"]): str(e["reason"]) for e in run.ledger() if e["state"] == "failed"}
    found = []
    for step in run.rollout_steps:
        table = run.rollouts(step, ["trajectory_id", "reward_clean", "outcome_state"])
        for row in table.to_pylist():
            name, state = row["trajectory_id"], row["outcome_state"]
            outcome: Outcome = Scored(row["reward_clean"]) if state == "scored" else Failed(reasons[name])
            said = Abstained(reasons[name]) if state == "abstained" else outcome
            found.append(Answer(source, name, "", Verdict((said,))))
    return found


def write_answers(answers: Sequence[Answer], path: Path) -> None:
    """As `Recorded` reads them."""
    path.write_text(json.dumps([answer.to_json() for answer in answers]))
