"""Where a pool's workers are born: this process's handle on its nursery, fresh interpreter or fork."""

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
import weakref
from pathlib import Path

from critica.rewards import nursery
from critica.rewards.wire import JsonObject, Judge, Program, receive, send

ANSWER_SECONDS = 30.0  # forking or reaping a worker takes milliseconds; past this the nursery is broken


class RewardCodeProblem(RuntimeError):
    """Reward code could not be loaded, or its processes could not be kept running."""


class Home:
    """Starts the nursery, restarts it if it dies, and asks it to fork and end workers."""

    def __init__(self, code: Program | Judge, load_seconds: float) -> None:
        self._code = code
        self._load_seconds = load_seconds
        self.judge_name: str = ""
        self.whole_batch: bool = False
        self._start()

    def fork(self, handle: socket.socket, limits: JsonObject) -> int:
        """Process id of a new worker that reads items from `handle`."""
        command = json.dumps({"do": "fork", "limits": limits}).encode()
        try:
            socket.send_fds(self._control, [command], [handle.fileno()])
            return self._answer()["pid"]
        except OSError:
            self.close()
            self._start()
            socket.send_fds(self._control, [command], [handle.fileno()])
            return self._answer()["pid"]

    def end(self, pid: int) -> str:
        """Kill a worker and its process group; says how it ended."""
        try:
            self._control.sendall(json.dumps({"do": "end", "pid": pid}).encode())
            return self._answer()["status"]
        except OSError:
            return "ended together with the process that made it"  # a dead nursery took its workers along

    def close(self) -> None:
        """End the nursery, which ends its workers."""
        self._finalizer()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                pid = (
                    self._start_fresh(ours, theirs)
                    if isinstance(self._code, Program)
                    else self._start_fork(ours, theirs)
                )
        except BaseException:
            ours.close()
            raise
        ours.settimeout(ANSWER_SECONDS)
        self._control = ours
        self._finalizer = weakref.finalize(self, _end_nursery, ours, pid, os.getpid())

    def _start_fork(self, ours: socket.socket, theirs: socket.socket) -> int:
        assert isinstance(self._code, Judge)
        self.judge_name, self.whole_batch = self._code.name, self._code.whole_batch
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the child runs reward code only, none of this process's threads
            pid = os.fork()
        if pid:
            return pid
        try:
            gc.freeze()
            ours.close()
            os.setsid()
            os.dup2(2, 1)
            nursery.serve(theirs, self._code, parent)
        finally:
            os._exit(0)

    def _start_fresh(self, ours: socket.socket, theirs: socket.socket) -> int:
        assert isinstance(self._code, Program)
        source = str(Path(nursery.__file__).parents[2])
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH", "")])]
        process = subprocess.Popen(
            [sys.executable, "-m", "critica.rewards.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        process.returncode = 0  # reaped by `_end_nursery`, not by Popen's destructor
        theirs.close()
        ours.settimeout(self._load_seconds)
        program = {"module": self._code.module, "factory": self._code.factory, "settings": dict(self._code.settings)}
        try:
            send(ours, program)
            ready = receive(ours)
        except TimeoutError:
            ready = {"error": f"it had not loaded after {self._load_seconds:g} s"}
        except OSError as error:
            ready = {"error": f"its process ended while loading ({error})"}
        if ready is None:
            ready = {"error": "its process ended while loading"}
        if "error" in ready:
            _end_nursery(ours, process.pid, os.getpid(), patience_seconds=0.0)
            raise RewardCodeProblem(
                f"the reward code {self._code.module}:{self._code.factory} {program['settings']} could not be loaded: "
                f"{ready['error']}. Fix it, or try it alone in a Python shell"
            )
        self.judge_name, self.whole_batch = str(ready["name"]), bool(ready["whole_batch"])
        return process.pid

    def _answer(self) -> JsonObject:
        line = b""
        while not line.endswith(b"\n"):
            piece = self._control.recv(4096)
            if not piece:
                raise ConnectionResetError("the nursery is gone")
            line += piece
        return json.loads(line)


def _end_nursery(control: socket.socket, pid: int, owner: int, patience_seconds: float = 2.0) -> None:
    """Close the nursery's socket, which makes it leave; after a while insist. Only the process that made it may."""
    control.close()
    if os.getpid() != owner:
        return
    deadline = time.monotonic() + patience_seconds
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() >= deadline:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.002)
