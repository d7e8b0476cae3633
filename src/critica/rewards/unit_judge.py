"""Unit tests as a judge: programs out of completions, run in the sandbox, judged outside of it. Imports no torch."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from critica.rewards.plain_values import NotPlain, decode, same_output, same_value
from critica.rewards.program_runs import Ending, RunLimits, printable, run_program
from critica.rewards.program_server import ProgramServer, ServerGone
from critica.rewards.programs import AssertCase, CallCase, ScriptCase, Suite, extract_program, read_suite
from critica.rewards.verdicts import Report, Verdict
from critica.rewards.wire import Item, Judge, Noted

PASSED = Verdict("passed")
NOT_RUN = Verdict("not_run")
SERVER_GONE = 70  # exit status of a worker whose server is gone: another worker, with its own, takes over


class WeakIsolation(RuntimeError):
    """This machine cannot keep a hostile program from doing harm."""


def make_unit_judge(settings: Mapping[str, Any]) -> Judge:
    """The judge of `UnitTests`. Raises `WeakIsolation` where programs cannot be isolated, unless that is allowed."""
    server = ProgramServer.start()
    shelter = server.shelter
    server.close()
    if shelter.missing and not settings["allow_weak_isolation"]:
        raise WeakIsolation(
            f"programs cannot be isolated on this machine ({'; '.join(shelter.missing)}). Use a kernel with seccomp "
            "and with Landlock (5.13 or newer) or user namespaces, let the container allow them, or, for programs that "
            "you trust, set allow_weak_isolation=true"
        )
    judge = _UnitJudge(settings)
    return Judge("unit_tests", False, judge.call, judge.prepare, shelter.missing)


class _UnitJudge:
    """A worker's judge, with the worker's own program server."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._partial = bool(settings["partial"])
        self._tolerance = float(settings["tolerance"])
        self._limits = RunLimits(
            float(settings["case_seconds"]),
            float(settings["program_seconds"]),
            int(settings["memory_mib"]),
            int(settings["output_kib"]) * 1024,
        )
        self._server: ProgramServer | None = None

    def prepare(self) -> None:
        """Fork the server while this worker knows no task."""
        self._server = ProgramServer.start()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # killed programs end as this worker's children

    def call(self, items: Sequence[Item]) -> list[Noted]:
        """One number and its report for the one item."""
        assert self._server is not None, "a unit-test judge runs in a worker that was prepared"
        item = items[0]
        suite = read_suite(item.task.info)
        try:
            report = judge_program(
                self._server, extract_program(item.text), suite, self._limits, self._tolerance, self._partial
            )
        except ServerGone:
            os._exit(SERVER_GONE)
        value = report.share if self._partial else float(report.passed == len(report.verdicts))
        return [Noted(value, report.to_note())]


def judge_program(
    server: ProgramServer, program: str, suite: Suite, limits: RunLimits, tolerance: float = 0.0, go_on: bool = True
) -> Report:
    """The verdicts on a program. Unless told to go on, the first case that fails ends it: the rest are `not_run`."""
    if "\0" in program:
        return Report((Verdict("error", "the program contains a null character"),) * len(suite.cases))
    trial = _Trial(server, program, suite, limits, tolerance)
    verdicts: list[Verdict] = []
    while len(verdicts) < len(suite.cases):
        verdicts += trial.next_verdicts(len(verdicts))
        if not go_on and verdicts[-1] != PASSED:
            break
        if trial.spent >= limits.total_seconds:
            left = len(suite.cases) - len(verdicts)
            verdicts += [Verdict("timeout", f"{limits.total_seconds:g} s for the whole program")] * left
    if not go_on:
        first = next((place for place, verdict in enumerate(verdicts) if verdict != PASSED), len(verdicts) - 1)
        verdicts = verdicts[: first + 1]
    return Report((*verdicts, *(NOT_RUN,) * (len(suite.cases) - len(verdicts))))


class _Slow(Exception):
    """Reading an answer takes too long."""


def _raise_slow(number: int, frame: object) -> None:
    raise _Slow


class _Trial:
    """One program against one suite: a process for each script case, one for as many calls as it survives."""

    def __init__(self, server: ProgramServer, program: str, suite: Suite, limits: RunLimits, tolerance: float) -> None:
        self.spent = 0.0
        self._server = server
        self._program = program
        self._suite = suite
        self._limits = limits
        self._tolerance = tolerance

    def next_verdicts(self, start: int) -> list[Verdict]:
        """Verdicts on one or more cases from `start` on."""
        case = self._suite.cases[start]
        return [self._script(case)] if isinstance(case, ScriptCase) else self._answers(start)

    def _run(self, job: dict[str, Any], stdin: bytes = b"") -> Ending:
        left = max(0.05, self._limits.total_seconds - self.spent)
        limits = RunLimits(self._limits.case_seconds, left, self._limits.memory_mib, self._limits.output_bytes)
        start = time.monotonic()
        ending = run_program(self._server, job, stdin, limits)
        self.spent += time.monotonic() - start
        return ending

    def _script(self, case: ScriptCase) -> Verdict:
        ending = self._run({"mode": "script", "program": self._program}, case.given.encode(errors="surrogatepass"))
        if ending.failure is not None:
            return ending.failure
        said = ending.stdout.decode(errors="replace")
        if same_output(said, case.wanted, self._tolerance):
            return PASSED
        return Verdict("wrong", f"wrote {said[:80]!r}")

    def _answers(self, start: int) -> list[Verdict]:
        """Every case that the program's process answers before it ends, and the case that ended it."""
        cases = self._suite.cases[start:]
        questions: list[tuple[str, Any]] = []
        for case in cases:
            assert not isinstance(case, ScriptCase)
            if isinstance(case, CallCase):
                questions.append(("call", list(case.arguments)))
            else:
                questions += [("expression", text) for text in case.expressions]
        ending = self._run(self._job(questions))
        if not ending.lines:
            failed = ending.failure or Verdict("error", "the program ended before it could be called")
            return [failed] * len(cases)
        verdicts: list[Verdict] = []
        place = 1  # the first line says that the program loaded
        for case in cases:
            assert not isinstance(case, ScriptCase)
            size = 1 if isinstance(case, CallCase) else len(case.expressions)
            lines = ending.lines[place : place + size]
            if len(lines) < size:
                failed = ending.failure or Verdict("error", "the program ended without an answer")
                return [*verdicts, failed]
            verdicts.append(self._judge_in_time(case, lines))
            place += size
        return verdicts

    def _job(
        self, questions: list[tuple[str, Any]], values: Sequence[tuple[str, Any]] = (), program: bool = True
    ) -> dict[str, Any]:
        return {
            "mode": "calls",
            "program": self._program if program else "",
            "setup": self._suite.setup,
            "function": self._suite.function,
            "questions": questions,
            "values": list(values),
        }

    def _judge_in_time(self, case: CallCase | AssertCase, lines: list[list[Any]]) -> Verdict:
        """A value can be made so that reading it takes hours (a set whose members collide): that is a wrong answer."""
        seconds = self._limits.case_seconds
        signal.signal(signal.SIGALRM, _raise_slow)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            verdict = self._judge(case, lines)
        except _Slow:
            return Verdict("timeout", f"{seconds:g} s to read its answer")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        if verdict is None:
            assert isinstance(case, AssertCase)
            return self._check(case, lines)
        return verdict

    def _judge(self, case: CallCase | AssertCase, lines: list[list[Any]]) -> Verdict | None:
        """The verdict, or None if only evaluating an expression will tell."""
        try:
            failed = next((line for line in lines if line[0] != 0), None)
            if failed is not None:
                text = printable(str(failed[1]))
                return Verdict("memory", text) if text == "MemoryError" else Verdict("error", f"raised {text}")
            values = [decode(line[1]) for line in lines]
        except NotPlain as error:
            return Verdict("wrong", str(error))
        except (IndexError, TypeError, KeyError):
            return Verdict("error", "answered something unreadable")
        if isinstance(case, CallCase):
            right = same_value(values[0], case.wanted, self._tolerance) or (
                isinstance(case.wanted, list)
                and len(case.wanted) == 1  # data sets wrap a single value in a list
                and same_value(values[0], case.wanted[0], self._tolerance)
            )
        elif case.wanted:
            right = _equal(values[0], case.wanted[0])
        else:
            return None
        return PASSED if right else Verdict("wrong", f"gave {', '.join(map(_short, values))}")

    def _check(self, case: AssertCase, lines: list[list[Any]]) -> Verdict:
        """Judge values in a process of its own, which knows the set-up code and nothing of the program."""
        values = [(f"_{place}", line[1]) for place, line in enumerate(lines)]
        ending = self._run(self._job([("expression", f"bool({case.check})")], values, program=False))
        right = ending.failure is None and len(ending.lines) == 2 and ending.lines[1] == [0, ["b", True]]
        return PASSED if right else Verdict("wrong", f"not true: {printable(case.check)}")


def _equal(value: object, wanted: object) -> bool:
    try:
        return bool(value == wanted)
    except RecursionError:
        return False


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number with more digits than Python will print
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
