"""What a benchmark is: a name, a purpose, and a run that writes NAME.json and NAME.md and can be cut off anywhere."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for: `seeds` of every trained system, `out` for results, `work` for what is kept in between."""

    out: Path = Path("benchmarks")
    work: Path = Path("build/bench")
    seeds: int = 5
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """A benchmark. `settings` is the dataclass that `Order.settings` change; `run` returns the table it wrote.

    `quick` are the settings of its small slice; empty: it has none.
    """

    name: str
    purpose: str
    settings: type
    run: Callable[[Order], Path]
    quick: tuple[str, ...] = ()


SOURCE = Path(__file__).parents[2]


def child_environment(threads: int) -> dict[str, str]:
    """For processes that a bench starts: this very Critica, and this many threads in every library."""
    paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    counts = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    return {**os.environ, **counts, "PYTHONPATH": os.pathsep.join(paths)}


class BenchFailed(RuntimeError):
    """A benchmark could not go on; what was measured until then is kept."""


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Eta:
    """How long the rest takes, judged by what was done since this was made."""

    units: int
    done: int = 0
    start: float = field(default_factory=time.monotonic)

    def after(self, units: int) -> str:
        """Count `units` as done; returns `eta 3:20`."""
        self.done += units
        left = (time.monotonic() - self.start) / self.done * max(0, self.units - self.done)
        return f"eta {int(left) // 60}:{int(left) % 60:02d}"
