"""`critica bench`: the benchmarks, whose results are committed under benchmarks/."""

import inspect
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Positive
from critica.cli.output import say, show
from critica.recipes.coercion import ConfigError, nearest

if TYPE_CHECKING:
    from critica.benches.base import Bench as Measurement


def about(bench: "Measurement") -> str:
    """What one benchmark measures, its settings with their defaults, and its small slice."""
    doc = inspect.getdoc(bench.settings) or ""
    told = inspect.getdoc(inspect.getmodule(bench.run)) or ""
    settings = [f"  {one.name} = {show_default(one)}" for one in fields(bench.settings)]
    if not settings:
        chosen = "It has no settings."
    else:
        chosen = "Settings, for --set FIELD=VALUE:\n" + "\n".join(settings) + (f"\n\n{doc}" if doc else "")
    slice_ = f"--quick sets {', '.join(bench.quick)}." if bench.quick else "It has no small slice (--quick)."
    return (
        f"usage: critica bench {bench.name} [OPTIONS]\n\n{bench.purpose}\n\n{told}\n\n{chosen}\n\n{slice_}\n\n"
        "The options of every benchmark: critica bench --help."
    )


def show_default(setting: Field) -> str:
    """A setting's default; `…` for one that has none."""
    if setting.default_factory is not MISSING:
        return repr(setting.default_factory())
    return "…" if setting.default is MISSING else repr(setting.default)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Run a benchmark, or all. Leave the machine alone meanwhile: a busy neighbor halves the numbers.

    What was measured is kept as it comes: the same command goes on after an interruption.

    `critica bench NAME --help` says what one measures, and what its settings are.

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

    # Where what is measured is kept until a benchmark is done.
    work: Annotated[str, arg(metavar="DIR")] = "build/bench"

    # A small slice of it, for a first look; `--set` changes it further.
    quick: bool = False

    # Change one setting of the benchmark.
    set: Annotated[tuple[str, ...], arg(metavar="FIELD=VALUE")] = ()

    def __call__(self) -> int:
        """Run the benchmarks of that name, print the table that each wrote."""
        from critica.benches.base import Order
        from critica.benches.catalogue import BENCHES

        if self.name != "all" and self.name not in BENCHES:
            known = ", ".join(["all", *BENCHES])
            raise ConfigError(f"there is no benchmark {self.name!r}{nearest(self.name, BENCHES)}. There are: {known}.")
        if self.name == "all" and self.set:
            raise ConfigError("--set changes one benchmark's settings: name it instead of `all`.")
        sliced = [bench.name for bench in BENCHES.values() if bench.quick]
        if self.quick and self.name not in sliced:
            raise ConfigError(f"--quick: {self.name} has no small slice. These have one: {', '.join(sliced)}.")
        for bench in BENCHES.values() if self.name == "all" else (BENCHES[self.name],):
            say(f"{bench.name}: {bench.purpose}")
            settings = (*(bench.quick if self.quick else ()), *self.set)
            written = bench.run(Order(Path(self.out), Path(self.work), self.seeds, settings))
            show(written.read_text())
        return 0
