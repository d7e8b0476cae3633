"""`critica bench`: the benchmarks, whose results are committed under benchmarks/."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Positive


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Run a benchmark, or all. Leave the machine alone meanwhile: a busy neighbor halves the numbers.

    Examples:
      critica bench speed
      critica bench all --seeds 5
    """

    # A benchmark's name, or `all`.
    name: Annotated[Positional[str], arg(metavar="NAME")]

    # Seeds of every trained system.
    seeds: Positive = 5

    # Where the results are written.
    out: Annotated[str, arg(metavar="DIR")] = "benchmarks"

    def __call__(self) -> int:
        """Run and write."""
        from pathlib import Path

        from critica.benches.catalogue import run_bench

        return run_bench(self.name, seeds=self.seeds, out=Path(self.out))
