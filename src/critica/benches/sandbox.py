"""The sandbox bench: programs per second through the unit-test reward, and what isolation costs, rewards included."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from critica.benches.base import Bench, BenchFailed, Order, child_environment, say
from critica.benches.machine import machine_facts
from critica.recipes.config import apply_sets
from critica.rewards.probe import probe_machine

FLOOR = 50.0  # programs a second, promised on two cores
READING_SECONDS = 120.0
NAMES = ("scripts", "functions", "walls", "no walls", "interpreter", "rewards", "rewards, no namespaces")
RATIOS = (
    ("isolation of a program", "walls", "no walls"),
    ("against a fresh interpreter without any wall", "walls", "interpreter"),
    ("namespaces around rewards", "rewards", "rewards, no namespaces"),
)


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Rounds of all readings, and the programs (or batches of rewards) of one."""

    rounds: int = 5
    programs: int = 200


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times longer `of` takes than `to`: the median of the rounds, and its extremes."""

    title: str
    of: str
    to: str
    ratio: float
    low: float
    high: float


def run_sandbox(order: Order) -> Path:
    """Measure, write sandbox.json and sandbox.md."""
    settings = apply_sets(SandboxSettings(), order.settings, {})
    readings: dict[str, list[float]] = {name: [] for name in NAMES}
    for number in range(settings.rounds):
        for name in NAMES:  # in turns, so that a busy moment does not meet one contender alone
            readings[name].append(read(name, settings.programs))
        say(f"  round {number + 1}: {1.0 / readings['scripts'][-1]:.0f} programs a second")
    machine, found = machine_facts(1), probe_machine()
    ratios = [compare(title, of, to, readings) for title, of, to in RATIOS]
    content = {
        "command": "critica bench sandbox", "machine": machine, "walls": found.shelter.walls,
        "isolation": found.isolation.applied, "seconds": readings, "ratios": [asdict(ratio) for ratio in ratios],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "sandbox.json").write_text(json.dumps(content, indent=1) + "\n")
    table = order.out / "sandbox.md"
    head = f"{machine['processor']}, {machine['cores']} cores; commit {machine['commit']}"
    table.write_text(sandbox_table(head, found.shelter.walls, readings, ratios))
    return table


def read(name: str, count: int) -> float:
    """Seconds per unit of one contender, in a fresh process."""
    command = [sys.executable, "-m", "critica.benches.sandbox_contender", name, str(count)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=child_environment(1), timeout=READING_SECONDS
        )
    except subprocess.CalledProcessError as error:
        raise BenchFailed(f"the reading {name!r} failed: {error.stderr.strip()[-500:]}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchFailed(f"the reading {name!r} took more than {READING_SECONDS:g} s: set programs lower") from error
    return float(json.loads(done.stdout)["seconds"])


def compare(title: str, of: str, to: str, readings: dict[str, list[float]]) -> Ratio:
    """Ratios of readings of the same round."""
    ratios = [one / other for one, other in zip(readings[of], readings[to], strict=True)]
    return Ratio(title, of, to, median(ratios), min(ratios), max(ratios))


def sandbox_table(head: str, walls: tuple[str, ...], readings: dict[str, list[float]], ratios: list[Ratio]) -> str:
    """The page."""
    words = {
        "scripts": "program with one stdin case, through the reward with 2 workers",
        "functions": "function with three assertions, through the reward with 2 workers",
        "walls": "program with one stdin case, one after the other",
        "no walls": "the same without isolation",
        "interpreter": "the same in a fresh interpreter",
        "rewards": "batch of 256 trivial rewards, 2 workers",
        "rewards, no namespaces": "the same where namespaces are refused",
    }
    lines = [
        "# Sandbox\n",
        f"Made by `critica bench sandbox`. {head}. Walls: {', '.join(walls) or 'none'}. Promised: at least {FLOOR:.0f}"
        " trivial programs a second on two cores.\n",
        "| | ms | fastest | slowest | per second | |",
        "|---" * 6 + "|",
    ]
    for name, seconds in readings.items():
        rate = 1.0 / median(seconds)
        mark = ("pass" if rate >= FLOOR else "FAIL") if name in ("scripts", "functions") else ""
        numbers = " | ".join(f"{1e3 * value:.2f}" for value in (median(seconds), min(seconds), max(seconds)))
        lines.append(f"| {words[name]} | {numbers} | {rate:.0f} | {mark} |")
    lines += ["\n| ratio of times | median | lowest | highest |", "|---" * 4 + "|"]
    lines += [f"| {r.title} | {r.ratio:.2f} | {r.low:.2f} | {r.high:.2f} |" for r in ratios]
    return "\n".join(lines) + "\n"


SANDBOX = Bench(
    "sandbox", "programs a second behind every wall, and what isolation costs", SandboxSettings, run_sandbox
)
