"""Reward functions that fork, fill disks, open sockets or leave things behind fail alone, on every kind of machine."""

import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from critica.environments.chain import Chain
from critica.records.supervision import Failed, Outcome, Scored
from critica.records.words import Message, Task
from critica.rewards import filters, kernel, wardens
from critica.rewards.base import ScoreRequest
from critica.rewards.isolation import NO_NETWORK, NO_PROCESS_NAMESPACE, Isolation, in_child
from critica.rewards.verifiers import Function
from critica.rewards.wardens import children_of, descendants, is_running
from critica.rewards.workers import WorkerLimits
from rewards.elsewhere import interpreter_of_nobody, run_elsewhere, start_elsewhere

ANYWHERE = Chain(length=2).build(0)
LIMITS = {"workers": 2, "call_seconds": 2.0, "memory_mib": 256, "file_mib": 4, "processes": 12}
CULPRITS = (3, 7)

# One file of reward code; the text of a culprit's completion says what it does. Bounded by itself, as in `hostile`.
CODE = """
import os, signal, socket, subprocess, sys, time
kept = []

def bad(kind, arguments):
    if kind == "raise":
        raise ZeroDivisionError("mine")
    if kind == "hang":
        time.sleep(20)
    if kind == "deaf":
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        end = time.time() + 20
        while time.time() < end: pass
    if kind == "memory":
        for _ in range(64): kept.append(b"x" * 2**25)
    if kind == "forks":
        for _ in range(60):
            if os.fork() == 0:
                time.sleep(20); os._exit(0)
        time.sleep(20)
    if kind == "leaves a child":
        subprocess.Popen(["sleep", arguments])
    if kind == "leaves a daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execvp("sleep", ["sleep", arguments])
            os._exit(0)
        os.wait()
    if kind == "daemon and dies":
        bad("leaves a daemon", arguments)
        os.kill(os.getpid(), signal.SIGSEGV); os._exit(5)
    if kind == "daemon and hangs":
        bad("leaves a daemon", arguments)
        time.sleep(20)
    if kind == "huge file":
        with open(arguments, "wb") as file:
            for _ in range(64): file.write(b"x" * 2**20)
    if kind == "socket":
        socket.create_connection(("127.0.0.1", int(arguments)), 1)
    if kind == "datagram":
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", int(arguments)))
    if kind == "shape":
        return [1.0, 2.0]
    return 5.0

def reward(task, completion):
    index, _, rest = completion.partition(" ")
    kind, _, arguments = rest.partition(":")
    return bad(kind, arguments) if kind else float(index)

def judge(settings):
    from critica.rewards.functions import function_judge
    return function_judge(reward)
"""

FAULTS = {
    "raise": "raised ZeroDivisionError: mine",
    "hang": "did not return within 2 s",
    "deaf": "did not return within 2 s",
    "memory": "ran out of the memory",
    "forks": "started more processes than it is allowed, 2 times",
    "daemon and dies": "ended its process",
    "huge file": "raised OSError: [Errno 27]",
    "socket": "raised",
    "datagram": "raised",
    "shape": "returned [1.0, 2.0]",
}
LEAVERS = ("leaves a child", "leaves a daemon")  # they answer: their value stands, what they left does not
PLACES = {
    "here": ((), False),
    "an ordinary user": ((), True),
    "without namespaces": (("refuse",), False),
    "an ordinary user without namespaces": (("refuse",), True),
}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    file = tmp_path / "faulty.py"
    file.write_text(CODE)
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(tempfile.gettempdir()):
            break
        os.chmod(folder, 0o755)  # another user must be able to read it
    return file


def arguments(kind: str, mark: str, tmp_path: Path, port: int) -> str:
    folder = tmp_path / "open"
    folder.mkdir(exist_ok=True)
    os.chmod(folder, 0o777)
    return {"huge file": str(folder / "big"), "socket": str(port), "datagram": str(port)}.get(kind, mark)


def sleepers(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0") and is_running(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("place", PLACES)
def test_faults_stay_with_the_rows_that_cause_them(place: str, code: Path, tmp_path: Path) -> None:
    flags, nobody = PLACES[place]
    if nobody and not interpreter_of_nobody():
        pytest.skip("needs root, and a Python that others may run")
    mark = f"62.{os.getpid()}"
    with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        stream.bind(("127.0.0.1", 0))
        stream.listen()
        port = stream.getsockname()[1]
        datagram.bind(("127.0.0.1", port))
        texts = []
        for kind in (*FAULTS, *LEAVERS):
            texts += [f"0 {kind}:{arguments(kind, mark, tmp_path, port)}", *(str(n) for n in range(1, 4))]
        order = {
            "module": "critica.rewards.functions", "factory": "make_function_judge",
            "settings": {"path": f"{code}:reward", "conversational": False}, "limits": LIMITS,
            "items": [[{}, text] for text in texts],
        }  # fmt: skip
        told = run_elsewhere(order, flags, nobody)
        for listener in (stream, datagram):
            listener.settimeout(0.05)
            with pytest.raises(TimeoutError):
                listener.accept() if listener is stream else listener.recv(9)
    replies = told["replies"]
    for place_in_batch, kind in enumerate((*FAULTS, *LEAVERS)):
        value, error, _ = replies[4 * place_in_batch]
        if kind in LEAVERS:
            assert (value, error) == (5.0, ""), kind
        else:
            assert value is None and FAULTS[kind] in error, (kind, error)
        assert [reply[0] for reply in replies[4 * place_in_batch + 1 : 4 * place_in_batch + 4]] == [1.0, 2.0, 3.0]
    assert sleepers(mark) == []
    big = tmp_path / "open" / "big"
    assert big.stat().st_size <= LIMITS["file_mib"] * 2**20
    refused = "refuse" in flags
    assert (NO_PROCESS_NAMESPACE in told["missing"]) is refused and NO_NETWORK not in told["missing"]
    assert len(told["warnings"]) == refused
    assert ("socket filter" in told["applied"]) is refused


@pytest.mark.parametrize("flags", [(), ("refuse",)], ids=["namespaces", "no namespaces"])
def test_a_killed_run_leaves_no_daemon(flags: tuple[str, ...], code: Path) -> None:
    """SIGKILL at the training process while reward code has a detached daemon: the warden still ends it."""
    mark = f"63.{os.getpid()}"
    order = {
        "module": "critica.rewards.functions", "factory": "make_function_judge",
        "settings": {"path": f"{code}:reward", "conversational": False},
        "limits": {**LIMITS, "call_seconds": 30.0}, "items": [[{}, f"0 daemon and hangs:{mark}"]],
    }  # fmt: skip
    process = start_elsewhere(order, flags)
    try:
        assert wait_until(lambda: sleepers(mark) != []), "the daemon did not start"
    finally:
        process.kill()
        process.wait()
    assert wait_until(lambda: sleepers(mark) == [])


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def request(index: int, text: str | None = None) -> ScoreRequest:
    task = Task(f"task{index}", "none", (Message("user", f"q{index}"),), str(index), {"level": index})
    return ScoreRequest(task, f"row{index}", str(index) if text is None else text)


def test_a_network_is_there_when_asked_for() -> None:
    """Servers on this machine can be reached with `network`, from a live function, too; not without."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        def asks(task, completion):
            with socket.create_connection(("127.0.0.1", port), 1):
                return 1.0

        found: dict[bool, list[Outcome]] = {}
        for network in (False, True):
            with Function(asks).build(ANYWHERE, WorkerLimits(workers=1, network=network)) as source:
                found[network] = source.scores([request(0)])
    assert found[True] == [Scored(1.0)]
    assert isinstance(found[False][0], Failed) and "raised OSError" in found[False][0].error


def test_a_worker_that_grows_is_replaced_before_a_call_fails() -> None:
    kept: list[bytes] = []

    def leaks(task, completion):
        kept.append(b"x" * (20 * 2**20))
        return float(len(kept))  # how many calls this very worker has seen

    with Function(leaks, 0.0, 100.0).build(ANYWHERE, WorkerLimits(workers=1, memory_mib=256)) as source:
        pids, values = set(), []
        for start in range(0, 24, 4):
            values += [outcome.value for outcome in source.scores([request(i) for i in range(start, start + 4)])]
            pids |= set(source.worker_pids)
    assert len(pids) >= 2 and max(values) < 12  # 256 MiB would hold 12 of them; it is told to go at half, in time


@pytest.mark.parametrize("kind", LEAVERS)
def test_what_a_call_leaves_ends_while_the_source_lives(kind: str, code: Path) -> None:
    """The value stands, the worker is replaced, what it left is gone: without waiting for the source to be closed."""
    mark = f"64.{os.getpid()}"
    with Function(f"{code}:reward", 0.0, 9.0).build(ANYWHERE, WorkerLimits(workers=1)) as source:
        assert source.scores([request(0, "1")]) == [Scored(1.0)]
        before = source.worker_pids
        assert source.scores([request(0, f"0 {kind}:{mark}")]) == [Scored(5.0)]
        assert wait_until(lambda: sleepers(mark) == [], 5.0)
        assert source.scores([request(0, "2")]) == [Scored(2.0)]
        assert source.worker_pids != before


def test_children_that_a_worker_had_before_do_not_count() -> None:
    """A worker is replaced for what it leaves, not for what it finds."""

    def quiet(task, completion):
        return 1.0

    with Function(quiet).build(ANYWHERE, WorkerLimits(workers=1)) as source:
        source.scores([request(0)])
        before = source.worker_pids
        source.scores([request(i) for i in range(40)])
        assert source.worker_pids == before


def test_the_warden_counts_descendants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of a child, and one whose parent is gone, are both found."""
    pid = os.fork()
    if pid == 0:
        kernel.control(kernel.PR_SET_CHILD_SUBREAPER, 1)
        for _ in range(2):
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(20)
                os._exit(0)
        time.sleep(20)
        os._exit(0)
    try:
        end = time.monotonic() + 5
        while sum(map(is_running, descendants(pid))) != 2 and time.monotonic() < end:
            time.sleep(0.01)
        found = descendants(pid)
        assert sum(map(is_running, found)) == 2
        assert set(children_of(pid)) <= set(found)
        monkeypatch.setattr(wardens, "_kernel_lists_children", lambda: False)
        assert set(descendants(pid)) == set(found)  # the same on a kernel that keeps no lists of children
    finally:
        for child in (pid, *descendants(pid)):
            os.kill(child, 9)
        os.waitpid(pid, 0)


@pytest.mark.skipif(not Path("/proc/sys/kernel/seccomp").exists(), reason="the kernel has no system call filters")
def test_the_filter_tells_calls_and_arguments_apart() -> None:
    """In a child each: what the program filter allows and refuses, with and without a scratch folder."""

    def refused(may_write: bool, step) -> int:
        def attempt() -> int:
            kernel.install_filter(filters.program_filter(os.getpid(), may_write))
            step()
            return 0

        return in_child(attempt)

    allowed = {
        "thread": lambda: __import__("threading").Thread(target=int).start(),
        "own signal": lambda: os.kill(os.getpid(), 0),
        "read": lambda: open("/dev/null").close(),
        "pair": lambda: socket.socketpair(),
    }
    denied = {
        "fork": os.fork,
        "signal": lambda: os.kill(os.getppid(), 0),
        "group": lambda: os.killpg(0, 0),
        "socket": socket.socket,
        "datagram pair": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "session": os.setsid,
    }
    for name, step in allowed.items():
        assert refused(False, step) == 0, name
    for name, step in denied.items():
        assert refused(True, step) != 0, name
    for may_write in (True, False):
        assert (refused(may_write, lambda: open("/dev/null", "w").close()) == 0) is may_write
        assert (refused(may_write, lambda: os.rename("/nowhere/a", "/nowhere/b")) == 2) is may_write  # no such file


def test_what_is_missing_is_said_in_one_sentence() -> None:
    assert Isolation(("network namespace",)).warning == ""
    words = Isolation(missing=(NO_NETWORK, NO_PROCESS_NAMESPACE)).warning
    assert words.count("isolation is incomplete here") == 1 and NO_NETWORK in words and "To fix it" in words
