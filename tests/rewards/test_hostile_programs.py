"""No program, whatever it tries, harms the run, leaves anything behind, or passes a case that it did not solve."""

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from critica.environments.chain import Chain
from critica.records.supervision import Failed, Outcome, Scored
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.unit_tests import UnitTests
from critica.rewards.verdicts import Report
from critica.rewards.wardens import descendants
from critica.rewards.workers import WorkerLimits
from rewards.elsewhere import SETTINGS, UNIT_TESTS, interpreter_of_nobody, run_elsewhere
from rewards.hostile import ATTACKS, CHEATS

ANYWHERE = Chain(length=2).build(0)
QUICK = UnitTests(case_seconds=1.5, program_seconds=6.0, memory_mib=128, output_kib=256)
GOOD = "print('ok')"


def request(index: int, text: str, info: dict) -> ScoreRequest:
    return ScoreRequest(Task(f"task{index}", "none", (Message("user", f"q{index}"),), "", info), f"row{index}", text)


class Aftermath(NamedTuple):
    outcomes: dict[str, Outcome]
    reports: dict[str, Report]
    good: list[Outcome]
    connections: int
    left_processes: int
    left_files: list[Path]
    left_after_closing: list[int]


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory, request_root: Path) -> Aftermath:
    """Every attack in one batch, a good program after each."""
    secret = tmp_path_factory.mktemp("secret") / "file"
    token, mark = f"token{os.getpid()}", f"mark{os.getpid()}"
    secret.write_text(token)
    with listeners() as (port, abstract, count), environment(CRITICA_TEST_TOKEN=token):
        words = {
            "port": port, "secret": secret, "token": token, "home": Path.home(), "repository": request_root,
            "mark": mark, "pid": os.getpid(), "abstract": abstract,
        }  # fmt: skip
        programs = []
        for attack in ATTACKS.values():
            text = attack.program.replace("\0", "\\N")
            programs += [text.format(**words).replace("\\N", "\0"), GOOD]
        programs.append(programs[2 * list(ATTACKS).index("scratch of the one before")])
        before = set(descendants(os.getpid()))
        with QUICK.build(ANYWHERE, WorkerLimits(workers=2)) as source:
            info = {"inputs": [""], "outputs": ["ok\n"]}
            outcomes = source.scores([request(i, text, info) for i, text in enumerate(programs)])
            time.sleep(0.2)
            workers = source.busy_workers
            left = len(set(descendants(os.getpid())) - before)
            reports = source.reports
        files = [path for top in places(request_root) if (path := top / mark).exists()]
        return Aftermath(
            dict(zip(ATTACKS, outcomes[:-1:2], strict=True)),
            dict(zip(ATTACKS, reports[:-1:2], strict=True)),  # type: ignore[arg-type]
            outcomes[1:-1:2],
            count(),
            left + workers,
            files,
            sorted(set(descendants(os.getpid())) - before),
        )


def places(root: Path) -> list[Path]:
    return [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), root, Path("/"), Path(os.__file__).parent]


@pytest.fixture(scope="module")
def request_root() -> Path:
    return Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def environment(**words: str) -> Iterator[None]:
    os.environ.update(words)
    try:
        yield
    finally:
        for word in words:
            del os.environ[word]


@contextlib.contextmanager
def listeners() -> Iterator[tuple[int, str, object]]:
    """A port on loopback for both protocols and a local socket, and how often any of them was reached."""
    abstract = f"critica-test-{os.getpid()}"
    with (
        socket.socket() as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
    ):
        stream.bind(("127.0.0.1", 0))
        stream.listen()
        port = stream.getsockname()[1]
        datagram.bind(("127.0.0.1", port))
        local.bind("\0" + abstract)

        def count() -> int:
            reached = 0
            for listener in (stream, datagram, local):
                listener.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    listener.accept() if listener is stream else listener.recv(64)
                    reached += 1
            return reached

        yield port, abstract, count


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_named_and_gets_nothing(name: str, aftermath: Aftermath) -> None:
    verdict = aftermath.reports[name].verdicts[0]
    assert aftermath.outcomes[name] == Scored(0.0)
    assert verdict.kind in ATTACKS[name].kinds.split(), verdict
    assert re.search(ATTACKS[name].words, verdict.detail), verdict


def test_good_programs_beside_attacks_still_pass(aftermath: Aftermath) -> None:
    assert aftermath.good == [Scored(1.0)] * len(ATTACKS)


def test_nobody_was_reached(aftermath: Aftermath) -> None:
    assert aftermath.connections == 0


def test_nothing_is_left_behind(aftermath: Aftermath) -> None:
    """While the source lives: the nursery and, for each of two workers, its warden and its program server."""
    assert aftermath.left_processes <= 1 + 2 * 3
    assert aftermath.left_files == [] and aftermath.left_after_closing == []


@pytest.fixture(scope="module")
def cheated() -> dict[str, dict[str, Report]]:
    """Every cheat against calls, and against assertions that are judged by a literal and by an expression."""
    suites = {
        "calls": {"fn_name": "f", "inputs": [[1]], "outputs": [2]},
        "literal": {"asserts": ["assert f(1) == 2"]},
        "other way round": {"asserts": ["assert 2 == f(1)"]},
        "expression": {"asserts": ["assert abs(f(1) - 2) < 1e-9 and f(1) != 3"]},
        "method": {"asserts": ["assert f(1).__eq__(2) is True"]},
    }
    honest = "def f(x): return x + 1"
    found: dict[str, dict[str, Report]] = {}
    with QUICK.build(ANYWHERE, WorkerLimits(workers=2)) as source:
        for suite, info in suites.items():
            source.scores([request(i, text, info) for i, text in enumerate([*CHEATS.values(), honest])])
            assert None not in source.reports
            *cheats, last = source.reports
            assert last is not None and last.passed == 1, (suite, last)
            found[suite] = dict(zip(CHEATS, cheats, strict=True))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("suite", ["calls", "literal", "other way round", "expression", "method"])
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_does_not_pass(name: str, suite: str, cheated: dict[str, dict[str, Report]]) -> None:
    report = cheated[suite][name]
    assert report.passed == 0, report
    assert report.verdicts[0].kind in ("wrong", "error", "timeout", "output_limit", "memory"), report


PLACES = {
    "an ordinary user": ((), True),
    "root without namespaces": (("refuse",), False),
    "an ordinary user without namespaces": (("refuse",), True),
    "root without Landlock": (("no_landlock",), False),
    "an ordinary user without Landlock": (("no_landlock",), True),
}


@pytest.mark.parametrize("place", PLACES)
def test_attacks_get_nothing_elsewhere(place: str, tmp_path: Path, request_root: Path) -> None:
    """Quick attacks, under other users and with other walls: no pass, all named, good programs pass."""
    flags, nobody = PLACES[place]
    if nobody and not interpreter_of_nobody():
        pytest.skip("needs root, and a Python that others may run")
    secret = tmp_path / "file"
    secret.write_text("token")
    quick = {name: attack for name, attack in ATTACKS.items() if "timeout" not in attack.kinds}
    with listeners() as (port, abstract, count):
        words = {
            "port": port, "secret": secret, "token": "token", "home": Path.home(), "repository": request_root,
            "mark": f"mark{os.getpid()}", "pid": os.getpid(), "abstract": abstract,
        }  # fmt: skip
        texts = [attack.program.replace("\0", "\\N").format(**words).replace("\\N", "\0") for attack in quick.values()]
        info = {"inputs": [""], "outputs": ["ok"]}
        order = {**UNIT_TESTS, "limits": {"workers": 2}, "items": [[info, t] for text in texts for t in (text, GOOD)]}
        told = run_elsewhere(order, flags, nobody)
        assert count() == 0
    assert told["uid"] == (65534 if nobody else os.getuid())
    assert all(reply[0] == 1.0 for reply in told["replies"][1::2])
    for (name, attack), (value, error, note) in zip(quick.items(), told["replies"][::2], strict=True):
        assert value == 0.0 and not error, (name, error, note)
        verdict = Report.from_note(note).verdicts[0]
        assert verdict.kind in attack.kinds.split() and re.search(attack.words, verdict.detail), (name, verdict)
    assert not [top for top in places(request_root) if (top / words["mark"]).exists()]


def test_programs_are_refused_where_nothing_hides_the_files() -> None:
    """Neither namespaces nor Landlock: refused by a sentence; allowed when asked for, and then said."""
    info = {"inputs": [""], "outputs": ["ok"]}
    order = {**UNIT_TESTS, "limits": {"workers": 1}, "items": [[info, GOOD]]}
    flags = ("refuse", "no_landlock")
    with pytest.raises(AssertionError, match=r"programs cannot be isolated on this machine.*allow_weak_isolation=true"):
        run_elsewhere(order, flags, nobody=False)
    told = run_elsewhere({**order, "settings": {**SETTINGS, "allow_weak_isolation": True}}, flags, nobody=False)
    assert told["replies"][0][0] == 1.0
    assert any("could read this user's files" in name for name in told["missing"])
    assert len(told["warnings"]) == 1 and "isolation is incomplete here" in told["warnings"][0]


def test_a_task_without_usable_cases_has_failed() -> None:
    with QUICK.build(ANYWHERE, WorkerLimits(workers=1)) as source:
        found = source.scores(
            [request(0, GOOD, {}), request(1, GOOD, {"inputs": [""], "outputs": ["ok"]}),
             request(2, GOOD, {"asserts": ["assert all(f(i) for i in range(3))"]})]
        )  # fmt: skip
    assert isinstance(found[0], Failed) and "needs `inputs` and `outputs`" in found[0].error
    assert found[1] == Scored(1.0)
    assert isinstance(found[2], Failed) and "loop variable" in found[2].error
