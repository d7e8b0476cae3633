"""The import bench: what `import critica` and its Python API cost over importing torch, in time and in modules."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from critica.benches.base import Bench, Order, child_environment, say
from critica.benches.machine import machine_facts
from critica.recipes.config import apply_sets

CEILING_SECONDS = 1.5
STATEMENTS = ("import critica", "from critica import train, recipe")
SCRIPT = """
import json, sys, time
import torch
before, start = set(sys.modules), time.perf_counter()
{statement}
seconds = time.perf_counter() - start
new = set(sys.modules) - before
print(json.dumps({{"seconds": seconds, "modules": len(new), "own": sum(m.startswith("critica") for m in new),
                   "transformers": "transformers" in sys.modules}}))
"""


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """Fresh interpreters for each statement."""

    rounds: int = 7


@dataclass(frozen=True, slots=True)
class ImportCost:
    """A statement's median seconds after `import torch`, new modules, and whether transformers is among them."""

    statement: str
    seconds: float
    slowest: float
    modules: int
    own_modules: int
    transformers: bool
    readings: tuple[float, ...]

    @property
    def kept(self) -> bool:
        """Under the ceiling, and without transformers."""
        return self.seconds < CEILING_SECONDS and not self.transformers


def run_import(order: Order) -> Path:
    """Measure, write import.json and import.md."""
    settings = apply_sets(ImportSettings(), order.settings, {})
    costs = []
    for statement in STATEMENTS:
        costs.append(measure(statement, settings.rounds))
        say(f"  {statement}: {costs[-1].seconds:.3f} s")
    machine = machine_facts(1)
    content = {"command": "critica bench import", "machine": machine, "costs": [asdict(cost) for cost in costs]}
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "import.json").write_text(json.dumps(content, indent=1) + "\n")
    table = order.out / "import.md"
    table.write_text(import_table(machine["processor"], machine["commit"], costs))
    return table


def measure(statement: str, rounds: int) -> ImportCost:
    """Run the statement in fresh interpreters; the first only warms the disk cache."""
    made = []
    for number in range(rounds + 1):
        command = [sys.executable, "-c", SCRIPT.format(statement=statement)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=child_environment(1))
        if number:
            made.append(json.loads(done.stdout))
    seconds, last = tuple(round(item["seconds"], 4) for item in made), made[-1]
    return ImportCost(
        statement, median(seconds), max(seconds), last["modules"], last["own"], last["transformers"], seconds
    )


def import_table(processor: str, commit: str, costs: list[ImportCost]) -> str:
    """The page."""
    lines = [
        "# Import\n",
        f"Made by `critica bench import`: seconds after `import torch`, median of fresh interpreters. {processor};"
        f" commit {commit}. Promised: under {CEILING_SECONDS} s and no transformers.\n",
        "| statement | seconds | slowest | new modules | of critica | transformers loaded | |",
        "|---" * 7 + "|",
    ]
    for cost in costs:
        loaded, mark = "yes" if cost.transformers else "no", "pass" if cost.kept else "FAIL"
        lines.append(
            f"| `{cost.statement}` | {cost.seconds:.3f} | {cost.slowest:.3f} | {cost.modules} | {cost.own_modules}"
            f" | {loaded} | {mark} |"
        )
    return "\n".join(lines) + "\n"


IMPORT = Bench("import", "what importing costs", ImportSettings, run_import)
