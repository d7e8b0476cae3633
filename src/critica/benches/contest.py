"""Contenders of one match side by side: each a process that waits its turn, so that one alone works at any time."""

import contextlib
import datetime
import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critica.benches.base import BenchFailed, child_environment
from critica.benches.machine import relative_command
from critica.benches.neighbors import others, peak_mib, usage
from critica.benches.readings import Journal, Reading

WARMUP_UNITS = 2
START_SECONDS, UNIT_SECONDS = 300.0, 600.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A named command that speaks `peers.pacing`, and how many units make one reading."""

    name: str
    command: tuple[str, ...]
    units: int = 1


@dataclass(frozen=True, slots=True)
class Match:
    """Contenders that are read in turn: A, B, C, A, B, C, …"""

    name: str
    contenders: tuple[Contender, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its contenders."""
        return tuple(contender.name for contender in self.contenders)


class Running:
    """A contender's live process."""

    def __init__(self, contender: Contender, threads: int, log: Path) -> None:
        self.contender = contender
        self._log_path = log
        self._log = log.open("w")
        self._process = subprocess.Popen(
            contender.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
            env=child_environment(threads),
        )
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def facts(self) -> dict[str, Any]:
        """Wait until it is ready; returns what it says about itself."""
        return {**self._answer(START_SECONDS)["ready"], "command": relative_command(self.contender.command)}

    def order(self, units: int) -> dict[str, Any]:
        """Let it work: seconds and sampled tokens of each unit."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone: the answer that does not come tells with what words
            self._process.stdin.write(f"go {units}\n")
            self._process.stdin.flush()
        return self._answer(UNIT_SECONDS * units)

    def read(self, number: int) -> Reading:
        """One reading, with what the rest of the machine did meanwhile."""
        before, start = usage(self._process.pid), time.perf_counter()
        answer = self.order(self.contender.units)
        seconds, after = time.perf_counter() - start, usage(self._process.pid)
        return Reading(
            contender=self.contender.name,
            round=number,
            units=len(answer["seconds"]),
            seconds=round(sum(answer["seconds"]), 6),
            tokens=int(sum(answer["tokens"])),
            peak_mib=round(peak_mib(self._process.pid), 1),
            other_cores=round(others(before, after, seconds), 3),
            load=round(os.getloadavg()[0], 2),
            time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            cpu_seconds=round(after.tree - before.tree, 2),
            stages={stage: round(spent, 6) for stage, spent in answer["stages"].items()},
        )

    def _answer(self, patience_seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not self._selector.select(patience_seconds):
            raise BenchFailed(f"{self.contender.name} was silent for {patience_seconds:.0f} s; see {self._log_path}")
        line = self._process.stdout.readline()
        if not line:
            tail = "\n".join(self._log_path.read_text().splitlines()[-15:])
            raise BenchFailed(f"{self.contender.name} ended early; its last words ({self._log_path}):\n{tail}")
        return json.loads(line)

    def close(self) -> None:
        """Tell it to stop; end it if it does not."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write("stop\n")
            self._process.stdin.close()
            self._process.wait(timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._selector.close()
        self._process.stdout.close()
        self._log.close()


def run_match(
    match: Match, journal: Journal, rounds: int, threads: int, logs: Path, say: Callable[[str], None]
) -> None:
    """Read until `rounds` rounds were quiet, or twice as many were made; a loud machine is recorded, not hidden."""
    if settled(match, journal, rounds):
        return
    logs.mkdir(parents=True, exist_ok=True)
    running: list[Running] = []
    try:
        for contender in match.contenders:  # one after the other: starting is work too
            one = Running(contender, threads, logs / f"{match.name}-{contender.name}.log")
            running.append(one)
            journal.add_facts(contender.name, one.facts())
            one.order(WARMUP_UNITS)
        number = max((reading.round for reading in journal.readings), default=0)
        while not settled(match, journal, rounds):
            number += 1
            made = [one.read(number) for one in running]
            for reading in made:
                journal.add(reading)
            parts = [f"{r.contender} {r.seconds_per_unit:.3f} s" + ("" if r.quiet else " (disturbed)") for r in made]
            say(f"  {match.name} round {number}: {', '.join(parts)}")
    finally:
        for one in running:
            one.close()


def settled(match: Match, journal: Journal, rounds: int) -> bool:
    """Whether enough was read."""
    done = len(journal.rounds_done(match.names))
    return len(journal.quiet_rounds(match.names)) >= rounds or done >= 2 * rounds
