"""When a run is struck, by which signal, and what it was doing then: drawn from a seed, read from the run folder."""

import json
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from critica.benches.torture_stable import Attempt

Aim = Literal["any time", "step", "save", "start"]
PHASES = ("starting", "resuming", "critic pretraining", "training", "saving", "evaluation")
AIMS: tuple[Aim, ...] = ("any time", "step", "save", "start")
AIM_WEIGHTS = (20, 30, 30, 20)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SIGNAL_WEIGHTS = (80, 10, 10)
SAVE_SECONDS = 0.1  # about what a save of pico takes
STEP_SECONDS = 0.06  # about what a step takes
LOOK_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class Plan:
    """One strike: `seconds` after the start, or after this attempt's `count`-th step is done or save has begun."""

    aim: Aim
    number: signal.Signals
    seconds: float
    count: int = 0


def plan_strike(dice: random.Random, life: float, start: float, steps: int, saves: int) -> Plan:
    """Any time of the `life` that is left, after any of the `steps`, inside any of the `saves`, or while it starts.

    A strike aimed at a save kills outright: a polite signal waits for the end of the step, wherever it arrives.
    """
    aim = dice.choices(AIMS, AIM_WEIGHTS)[0]
    number = dice.choices(SIGNALS, SIGNAL_WEIGHTS)[0]
    if aim == "save":
        return Plan(aim, signal.SIGKILL, dice.uniform(0, SAVE_SECONDS), dice.randint(1, max(1, saves)))
    if aim == "step":
        return Plan(aim, number, dice.uniform(0, STEP_SECONDS), dice.randint(1, max(1, steps)))
    return Plan(aim, number, dice.uniform(0, start if aim == "start" else life))


def carry_out(plan: Plan, attempt: Attempt, run: Path) -> bool:
    """Wait for the planned moment and strike. False if the attempt was over before."""
    if plan.aim == "save" and not wait_for_saves(attempt, run, plan.count):
        return False
    if plan.aim == "step" and not wait_for_steps(attempt, run, plan.count):
        return False
    if attempt.ended(plan.seconds):
        return False
    attempt.strike(plan.number)
    return True


def wait_for_saves(attempt: Attempt, run: Path, count: int) -> bool:
    """Whether this many saves begin before the attempt ends."""
    known = unpublished(run)
    before = len(known)
    while not attempt.ended(LOOK_SECONDS):
        known |= unpublished(run)
        if len(known) >= before + count:
            return True
    return False


def wait_for_steps(attempt: Attempt, run: Path, count: int) -> bool:
    """Whether this many lines are added to metrics.jsonl before the attempt ends."""
    last, added = size_of(run / "metrics.jsonl"), 0
    while not attempt.ended(LOOK_SECONDS):
        size = size_of(run / "metrics.jsonl")
        added += size > last  # a resume may cut it first
        last = size
        if added >= count:
            return True
    return False


def size_of(path: Path) -> int:
    """In bytes; 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0


def unpublished(run: Path) -> set[tuple[str, int]]:
    """Checkpoint folders that are being written, by name and birth: one left by an earlier attempt is another one."""
    found = set()
    for path in (run / "checkpoints").glob(".*step_*"):
        try:
            found.add((path.name, path.stat().st_ctime_ns if path.name.startswith(".old") else path.stat().st_ino))
        except FileNotFoundError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run folder shows at one moment."""

    exists: bool
    committed: int
    checkpoint: int
    unpublished: frozenset[tuple[str, int]]
    measured: bool


def standing(run: Path) -> Standing:
    """Read it without touching it: torn lines are not there."""
    metrics = run / "metrics.jsonl"
    lines = metrics.read_bytes().split(b"\n")[:-1] if metrics.exists() else []
    committed = max((json.loads(line)["step"] for line in lines), default=0)
    steps = [int(path.name[5:]) for path in (run / "checkpoints").glob("step_*")]
    measured = (run / "evaluations" / "before-greedy.json").exists()
    return Standing(
        (run / "run.json").exists(), committed, max(steps, default=-1), frozenset(unpublished(run)), measured
    )


def phase_of(before: Standing, after: Standing, resumed: bool, steps: int, warmup: int) -> str:
    """What the attempt was doing when it died, judged by the folder at its start and at its end."""
    if not after.exists:
        return "starting"
    if after.unpublished - before.unpublished:
        return "saving"
    if resumed and after.committed <= max(before.checkpoint, 0) and after.committed < steps:
        return "resuming"
    if after.committed >= steps or not (after.measured or after.committed):
        return "evaluation"
    return "critic pretraining" if after.committed < warmup else "training"


def life_left(whole: float, start: float, done: int, steps: int) -> float:
    """Seconds that the rest of a run takes, its start included."""
    return start + (whole - start) * (1 - done / steps)
