"""Held-out accuracy while a run goes on, and the best policy so far kept beside the newest."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from critica.records.outcome import OutcomeReport
from critica.records.run import Progress
from critica.store.files import publish_folder, recover_folder
from critica.training.state import write_json

BEST = "best"
RECORD = "best.json"
INTERIM = "step_"  # of the names of evaluations made on the way

BestBy = Literal["accuracy", "reward"]
Measure = Callable[[str], tuple[OutcomeReport, ...]]


@runtime_checkable
class Saves(Protocol):
    """A model that can be written as a folder."""

    def save(self, folder: Path) -> None: ...


class Examiner:
    """Measures the policy every `every` steps (0: never), under the names step_20-temperature_1 and step_20-greedy.

    With `keep_best`, RUN/best is the model folder of the policy with the highest accuracy at temperature 1 so far (or
    the highest mean of the run's own reward), the earlier of two equals, and best.json in it says which step that was
    and how good. Measuring draws its own
    random numbers and changes nothing that is trained.
    """

    def __init__(
        self, run: Path, policy: Saves, every: int, keep_best: bool, measure: Measure, by: BestBy = "accuracy"
    ) -> None:
        self.run, self.policy, self.every, self.keep_best, self.measure = run, policy, every, keep_best, measure
        self.by: BestBy = by

    def begin(self, step: int) -> None:
        """Forget what was measured after `step`, where this run goes on: it will be measured again."""
        recover_folder(self.run / BEST)
        if self.best_step > step:
            shutil.rmtree(self.run / BEST)
        for file in (self.run / "evaluations").glob(f"{INTERIM}*.json"):
            number = file.name.removeprefix(INTERIM).partition("-")[0]
            if number.isdecimal() and int(number) > step:
                file.unlink()

    def after(self, progress: Progress) -> None:
        """Measure if this step is due, and keep the policy if it is the best."""
        if not self.every or progress.step % self.every:
            return
        found = self._good(self.measure(f"{INTERIM}{progress.step}")[0])
        if self.keep_best and found > self.best:
            self._keep(progress.step, found)

    def _good(self, report: OutcomeReport) -> float:
        """How good the policy is; a run whose reward is the environment's own word is as good as it is accurate."""
        by_reward = self.by == "reward" and report.reward is not None
        return report.reward.estimate if by_reward and report.reward else report.accuracy.estimate

    @property
    def best_step(self) -> int:
        """The step of the kept policy; -1 if none is kept."""
        return int(self._record().get("step", -1))

    @property
    def best(self) -> float:
        """How good it was at temperature 1; below any if none is kept."""
        return float(self._record().get(self.by, -math.inf))

    def _record(self) -> dict[str, float]:
        file = self.run / BEST / RECORD
        return json.loads(file.read_text()) if file.is_file() else {}

    def _keep(self, step: int, good: float) -> None:
        def fill(folder: Path) -> None:
            self.policy.save(folder)
            write_json(folder / RECORD, {"step": step, self.by: good})

        publish_folder(self.run / BEST, fill)
