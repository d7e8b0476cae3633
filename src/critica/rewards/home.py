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
from critica.rewards.isolation import Isolation, leave_network_and_users
from critica.rewards.wire import JsonObject, Judge, Program, receive, send

ORPHANED = "ended together with the process that made it"
ANSWER_SECONDS = 30.0  # forking or reaping a worker takes milliseconds; past this the nursery is broken


class RewardCodeProblem(RuntimeError):
    """Reward code could not be loaded, or its processes could not be kept running."""


class Home:
    """Starts the nursery, restarts it if it dies, and asks it to fork and end workers."""

    def __init__(self, code: Program | Judge, load_seconds: float, network: bool = False) -> None:
        self._code = code
        self._load_seconds = load_seconds
        self._network = network
        self.isolation = Isolation()
        self.judge_name: str = ""
        self.whole_batch: bool = False
        self._start()

    def fork(self, handle: socket.socket, limits: JsonObject) -> tuple[int, int]:
        """Process ids of a new warden and of its worker, which reads items from `handle`."""
        command = json.dumps({"do": "fork", "limits": limits}).encode()
        try:
            socket.send_fds(self._control, [command], [handle.fileno()])
            answer = self._answer()
        except OSError:
            self.close()
            self._start()
            try:
                socket.send_fds(self._control, [command], [handle.fileno()])
                answer = self._answer()
            except OSError as error:
                raise RewardCodeProblem(
                    f"no worker could be started for reward {self.judge_name}: {error}. Its own words, if any, are on "
                    "standard error; `critica doctor` says what this machine allows"
                ) from error
        return answer["warden"], answer["pid"]

    def end(self, warden: int) -> str:
        """Kill a worker and all it started; says how it ended."""
        try:
            self._control.sendall(json.dumps({"do": "end", "warden": warden}).encode())
            return self._answer()["status"]
        except OSError:
            return ORPHANED  # a dead nursery took its workers along

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
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the child runs reward code only, none of this process's threads
            pid = os.fork()
        if pid:
            theirs.close()
            self._hear_ready(ours, pid, self._code.name)
            return pid
        try:
            gc.freeze()
            ours.close()
            os.setsid()
            os.dup2(2, 1)
            isolation = leave_network_and_users(self._network)
            send(theirs, nursery.ready_message(self._code, isolation))
            nursery.serve(theirs, self._code, parent, isolation)
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
            # The order of sets of strings, which reward code may let show, is then the same in every run.
            env={"PYTHONHASHSEED": "0", **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        process.returncode = 0  # reaped by `_end_nursery`, not by Popen's destructor
        theirs.close()
        program = {"module": self._code.module, "factory": self._code.factory, "settings": dict(self._code.settings)}
        with contextlib.suppress(OSError):  # it ended at once: what is heard from it says so
            send(ours, {**program, "network": self._network})
        self._hear_ready(ours, process.pid, f"{self._code.module}:{self._code.factory} {program['settings']}")
        return process.pid

    def _hear_ready(self, ours: socket.socket, pid: int, what: str) -> None:
        """Wait until the nursery has isolated itself and loaded the code, and learn what came of it."""
        ours.settimeout(self._load_seconds)
        try:
            ready = receive(ours)
        except TimeoutError:
            ready = {"error": f"it had not loaded after {self._load_seconds:g} s"}
        except OSError as error:
            ready = {"error": f"its process ended while loading ({error})"}
        if ready is None:
            ready = {"error": "its process ended while loading"}
        if "error" in ready:
            _end_nursery(ours, pid, os.getpid(), patience_seconds=0.0)
            raise RewardCodeProblem(
                f"the reward code {what} could not be loaded: "
                f"{ready['error']}. Fix it, or try it alone in a Python shell"
            )
        self.judge_name, self.whole_batch = str(ready["name"]), bool(ready["whole_batch"])
        self.isolation = Isolation(tuple(ready["applied"]), tuple(ready["missing"]))

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
