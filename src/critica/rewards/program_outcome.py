"""How a program ended, as CodeRL's four rewards: it does not compile, it fails running, a test fails, it passes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from critica.environments.base import Environment
from critica.records.supervision import Outcome, Scored
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.isolation import Isolation
from critica.rewards.unit_tests import UnitTests, UnitTestSource
from critica.rewards.verdicts import Report
from critica.rewards.workers import WorkerLimits

NOT_COMPILED = ("exit status 1: SyntaxError", "exit status 1: IndentationError", "exit status 1: TabError",
                "the program contains a null character")  # fmt: skip


@dataclass(frozen=True)
class ProgramOutcome(RewardConfig):
    """-1 compile error, -0.6 runtime error, -0.3 failed test, 1 passed (CodeRL, arXiv 2207.01780, eq. 4).

    The worst ending of any case decides, in this order. Running too long, too large or too loud is a runtime error.
    Everything else is as `reward=unit_tests`, whose sandbox and cases this uses; its `partial` has no meaning here.
    """

    tests: UnitTests = field(default_factory=UnitTests)
    compile_error: float = -1.0
    runtime_error: float = -0.6
    failed_test: float = -0.3
    passed: float = 1.0

    def __post_init__(self) -> None:
        if not self.compile_error <= self.runtime_error <= self.failed_test < self.passed:
            raise ValueError(
                "the rewards must not fall from compile_error over runtime_error and failed_test to passed"
            )
        if self.tests.partial:
            raise ValueError(
                "reward.tests.partial pays shares of cases, and here the worst case decides; leave it false"
            )

    def value(self, report: Report) -> float:
        """The reward of the worst ending among the cases that were run."""
        return min(self._of(verdict.kind, verdict.detail) for verdict in report.verdicts if verdict.kind != "not_run")

    def _of(self, kind: str, detail: str) -> float:
        if kind == "passed":
            return self.passed
        if kind == "wrong":
            return self.failed_test
        if kind == "error" and detail.startswith(NOT_COMPILED):
            return self.compile_error
        return self.runtime_error

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "ProgramOutcomeSource":  # noqa: B008
        """The live source. Raises `RewardCodeProblem` where programs cannot be isolated."""
        return ProgramOutcomeSource(self, self.tests.build(environment, limits))


class ProgramOutcomeSource:
    """The live source: the unit tests' reports, read as endings."""

    name = "program_outcome"

    def __init__(self, part: ProgramOutcome, tests: UnitTestSource) -> None:
        self.part, self.tests = part, tests
        self.low, self.high = part.compile_error, part.passed

    @property
    def busy_workers(self) -> int:
        """Cores that programs occupy right now."""
        return self.tests.busy_workers

    @property
    def waiting_for(self) -> str:
        """Nothing that the unit tests do not wait for."""
        return self.tests.waiting_for

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this machine cannot enforce."""
        return self.tests.warnings

    @property
    def isolation(self) -> Isolation:
        """What keeps programs in, and what is missing here."""
        return self.tests.isolation

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        """One outcome per request, by index; a failure to judge stays one."""
        said = self.tests.scores(items)
        return [
            outcome if report is None or not isinstance(outcome, Scored) else Scored(self.part.value(report))
            for outcome, report in zip(said, self.tests.reports, strict=True)
        ]

    def close(self) -> None:
        """End every process."""
        self.tests.close()
