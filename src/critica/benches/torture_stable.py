"""A warm process from which the command is forked: a kill hits a real process, and its 3 s of imports are spared.

The stable has imported everything and computed nothing, so that a fork of it is what a fresh interpreter is; the
undisturbed runs are fresh interpreters, which proves it bit by bit. It adopts what killed runs leave behind, and ends
when its standard input does.
"""

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from critica.benches.base import BenchFailed, child_environment

PR_SET_CHILD_SUBREAPER = 36
WARM = (
    "torch", "transformers.models.qwen3.modeling_qwen3", "safetensors.torch", "pyarrow.parquet", "tyro",
    "critica.training.run", "critica.training.progress", "critica.cli.train", "critica.cli.resume",
)  # fmt: skip
PROGRAM = "critica.cli.main"  # named, not imported: a bench runs the command as others do, from outside
GRACE_SECONDS = 10.0


class Attempt:
    """One forked run of the command: a process whose number is its own until `Stable.reap` has asked for its end."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.start = time.monotonic()
        self._handle = os.pidfd_open(pid)

    @property
    def age(self) -> float:
        """Seconds since it was forked."""
        return time.monotonic() - self.start

    def ended(self, seconds: float) -> bool:
        """Whether it ends within these seconds."""
        return bool(select.select([self._handle], [], [], max(0.0, seconds))[0])

    def strike(self, number: signal.Signals) -> None:
        """Send the signal, unless it is over already."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def close(self) -> None:
        """Let go of the handle."""
        os.close(self._handle)


class Stable:
    """The warm process, seen from outside. Use it as a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "critica.benches.torture_stable"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=child_environment(1), start_new_session=True, text=True,
        )  # fmt: skip
        self._answer()

    def start(self, words: list[str], log: Path) -> Attempt:
        """Fork the command with these words; what it says goes to `log`."""
        return Attempt(self._ask({"do": "start", "words": words, "log": str(log)})["pid"])

    def reap(self, attempt: Attempt) -> int:
        """The status of an attempt that has ended: negative for a signal."""
        attempt.close()
        return self._ask({"do": "reap", "pid": attempt.pid})["status"]

    def survivors(self) -> int:
        """Processes that killed runs left behind and that did not end by themselves in time; they are ended now."""
        return self._ask({"do": "survivors"})["count"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchFailed(f"the warm process ended with status {self._process.wait()}; its words are above")
        return json.loads(line)

    def __enter__(self) -> "Stable":
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(GRACE_SECONDS * 2)


def serve() -> None:
    """Answer requests line by line until there are no more, then end everything."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    for name in WARM:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    handlers = {"start": fork_command, "reap": reap, "survivors": lambda request: {"count": end_survivors()}}
    print(json.dumps({"ready": True}), file=answers, flush=True)
    try:
        for line in sys.stdin:
            request = json.loads(line)
            print(json.dumps(handlers[request["do"]](request)), file=answers, flush=True)
    finally:
        end_survivors(0.0)


def fork_command(request: dict[str, Any]) -> dict[str, Any]:
    """A child that runs the command as the program does, and ends with its status."""
    pid = os.fork()
    if pid:
        return {"pid": pid}
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = vars(importlib.import_module(PROGRAM))["main"](request["words"])
    except KeyboardInterrupt:
        status = 1  # it came before the command could say so itself
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def reap(request: dict[str, Any]) -> dict[str, Any]:
    """The status of one child that is over."""
    return {"status": os.waitstatus_to_exitcode(os.waitpid(request["pid"], 0)[1])}


def end_survivors(grace: float = GRACE_SECONDS) -> int:
    """Wait for adopted processes to end by themselves; kill and count those that do not."""
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
        except ChildProcessError:
            return 0
    children = [
        int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    ]
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return len(children)


if __name__ == "__main__":
    serve()
