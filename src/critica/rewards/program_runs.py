"""One program's process, seen from outside: feed it, read it within bounds, end it in time, and say how it ended.

Imports no torch.
"""

import json
import os
import selectors
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from critica.rewards.program_body import OUT_OF_MEMORY
from critica.rewards.program_server import PIPES, START_SECONDS, ProgramServer
from critica.rewards.verdicts import Verdict

PIECE = 1 << 16
STDERR_KEPT = 2000
GONE_SECONDS = 2.0  # a killed process closes its pipes at once


class HarnessBroken(RuntimeError):
    """The sandbox itself did not work: no fault of the program, and no verdict on it."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """`case_seconds` for each answer (of a script: its only one), `total_seconds` for all of them."""

    case_seconds: float
    total_seconds: float
    memory_mib: int
    output_bytes: int


@dataclass(slots=True)
class Ending:
    """How a run ended, what was written, and the lines of the result pipe. No `failure` means: it ended well."""

    stdout: bytes = b""
    lines: list[list[Any]] = field(default_factory=list)
    failure: Verdict | None = None


def run_program(server: ProgramServer, job: dict[str, Any], stdin: bytes, limits: RunLimits) -> Ending:
    """Run one job in a new process. Raises `HarnessBroken` or `program_server.ServerGone`."""
    return _Run(server, job, stdin, limits).finish()


def printable(text: str) -> str:
    """A program's words, cut to 300 characters, without any that could steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:300])


class _Run:
    """The pipes of one run and what came through them."""

    def __init__(self, server: ProgramServer, job: dict[str, Any], stdin: bytes, limits: RunLimits) -> None:
        self._limits = limits
        self._ours: dict[str, int] = {}
        theirs = []
        for name in PIPES:
            reader, writer = os.pipe()
            mine, its = (writer, reader) if name in ("stdin", "job") else (reader, writer)
            os.set_blocking(mine, False)
            self._ours[name] = mine
            theirs.append(its)
        cpu_seconds = int(limits.total_seconds) + 2
        try:
            self._overseer = server.begin(theirs, limits.memory_mib, cpu_seconds)
        except BaseException:
            self._close(*list(self._ours))
            raise
        finally:
            for handle in theirs:
                os.close(handle)
        self._outgoing = {"stdin": memoryview(stdin), "job": memoryview(json.dumps(job).encode())}
        self._read: dict[str, bytearray] = {name: bytearray() for name in ("stdout", "stderr", "result", "status")}
        self._counts: dict[str, int] = {"stdout": 0, "stderr": 0, "result": 0}
        self._ready = False
        self._told: dict[str, Any] = {}
        self._answers = 0
        self._start = self._since = time.monotonic()
        self._verdict: Verdict | None = None

    def finish(self) -> Ending:
        """Until the process is gone, well or not."""
        try:
            self._watch()
        finally:
            self._close(*list(self._ours))
        return self._ending()

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            for name, handle in self._ours.items():
                writing = name in self._outgoing
                selector.register(handle, selectors.EVENT_WRITE if writing else selectors.EVENT_READ, name)
            done = False
            try:
                while self._verdict is None and any(name in self._ours for name in self._read):
                    for key, _ in selector.select(max(0.0, self._deadline() - time.monotonic())):
                        (self._write_some if key.data in self._outgoing else self._read_some)(selector, key.data)
                    self._check_time()
                done = self._verdict is None
            finally:
                if not done:
                    self._kill(selector)

    def _deadline(self) -> float:
        if not self._ready:
            return self._start + START_SECONDS
        return min(self._since + self._limits.case_seconds, self._start + self._limits.total_seconds)

    def _check_time(self) -> None:
        if self._verdict is None and time.monotonic() >= self._deadline():
            if not self._ready:
                self._verdict = Verdict("error", "did not start")
                return
            case = time.monotonic() - self._since >= self._limits.case_seconds
            seconds = self._limits.case_seconds if case else self._limits.total_seconds
            self._verdict = Verdict("timeout", f"{seconds:g} s" + ("" if case else " for the whole program"))

    def _write_some(self, selector: selectors.BaseSelector, name: str) -> None:
        try:
            sent = os.write(self._ours[name], self._outgoing[name][:PIECE])
            self._outgoing[name] = self._outgoing[name][sent:]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want to read more
            self._outgoing[name] = memoryview(b"")
        if not self._outgoing[name]:
            self._drop(selector, name)

    def _read_some(self, selector: selectors.BaseSelector, name: str) -> None:
        try:
            data = os.read(self._ours[name], PIECE)
        except BlockingIOError:
            return
        if not data:
            self._drop(selector, name)
            return
        self._read[name] += data
        if name == "status":
            self._hear_status()
            return
        self._counts[name] += len(data)
        if self._counts[name] > self._limits.output_bytes:
            what = {"stdout": "standard output", "stderr": "standard error", "result": "the returned values"}[name]
            self._verdict = Verdict("output_limit", f"more than {self._limits.output_bytes} bytes on {what}")
        elif name == "result":
            self._count_answers()
        elif name == "stderr":
            del self._read[name][:-STDERR_KEPT]

    def _hear_status(self) -> None:
        *whole, rest = bytes(self._read["status"]).split(b"\n")
        self._read["status"] = bytearray(rest)
        for line in whole:
            told = json.loads(line)
            if told.get("ready"):
                self._ready = True
                self._start = self._since = time.monotonic()
            else:
                self._told |= told

    def _count_answers(self) -> None:
        answers = self._read["result"].count(b"\n")
        if answers > self._answers:
            self._answers = answers
            self._since = time.monotonic()

    def _kill(self, selector: selectors.BaseSelector) -> None:
        """End the overseer and so the program, and wait until its pipes say that it is gone."""
        with suppress(ProcessLookupError):
            os.kill(self._overseer, signal.SIGKILL)
        end = time.monotonic() + GONE_SECONDS
        for name in list(self._outgoing):
            if name in self._ours:
                self._drop(selector, name)
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(max(0.0, end - time.monotonic())):
                try:
                    if not os.read(key.fd, PIECE):
                        self._drop(selector, key.data)
                except BlockingIOError:
                    continue

    def _drop(self, selector: selectors.BaseSelector, name: str) -> None:
        selector.unregister(self._ours[name])
        self._close(name)

    def _close(self, *names: str) -> None:
        for name in names:
            os.close(self._ours.pop(name))

    def _ending(self) -> Ending:
        if "broken" in self._told or not self._ready:
            raise HarnessBroken(f"the sandbox failed before the program ran: {self._told or 'its process ended'}")
        return Ending(bytes(self._read["stdout"]), self._lines(), self._verdict or self._own_end())

    def _lines(self) -> list[list[Any]]:
        lines = []
        for line in bytes(self._read["result"]).split(b"\n")[:-1]:
            try:
                lines.append(json.loads(line))
            except (ValueError, RecursionError):
                lines.append([1, "returned something unreadable"])
        return lines

    def _own_end(self) -> Verdict | None:
        """What the program's own ending means; None if it ended well."""
        code, words = self._told.get("code"), self._read["stderr"].decode(errors="replace").strip()
        last = printable(words.rsplit("\n", 1)[-1])
        if code is None:
            raise HarnessBroken("the program's overseer ended before the program")
        if code == 0:
            return None
        if code == OUT_OF_MEMORY or "MemoryError" in last:
            return Verdict("memory", f"more than {self._limits.memory_mib} MiB")
        if code < 0:
            name = signal.Signals(-code).name
            if self._told["cpu_seconds"] >= int(self._limits.total_seconds) + 1:
                return Verdict("timeout", f"{self._told['cpu_seconds']:g} processor seconds")
            return Verdict("error", f"killed by {name}")
        return Verdict("error", f"exit status {code}" + (f": {last}" if last else ""))
