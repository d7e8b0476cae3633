"""The safeguards bench: what a step costs with everything that keeps a run trustworthy, and with all of it off.

Two runs of one recipe in one process take turns, a few steps each. On: as everyone runs it. Off: nothing is journaled
or checked for finiteness, reward workers may reach the network, checkpoints are plain files without checksum,
sync or verification. Both do the same arithmetic on the same batches; only the price of the safeguards differs.
"""

import json
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, cast

from critica.benches.base import Bench, Eta, Order, say
from critica.benches.machine import machine_facts
from critica.recipes.config import apply_sets
from critica.records.arrays import Metric, TokenBatch
from critica.records.run import Progress

CEILING = 1.03
FOREVER = 1_000_000


@dataclass(frozen=True, slots=True)
class SafeguardSettings:
    """`turns` of `steps` steps each, of both runs, with a checkpoint at the end of each turn."""

    recipe: str = "dvpo"
    turns: int = 8
    steps: int = 25
    prompts: int = 64
    samples: int = 4
    threads: int = 2
    resamples: int = 2000


class Trusting:
    """In place of the guard: looks at nothing."""

    bad = None

    def begin(self) -> None:
        """Nothing."""

    def sampled(self, batch: TokenBatch) -> TokenBatch:
        """The batch."""
        return batch

    def attempt(self, stage: str, act: Callable[[], Any], instead: Callable[[], Any]) -> Any:
        """What `act` gives."""
        return act()

    def skipped(self, applied: bool) -> str:
        """Never."""
        return ""

    def metric(self) -> Metric:
        """The same metric, so that both runs write the same lines."""
        return Metric("step/skipped", 0.0, 1.0)


@dataclass
class PlainSaver:
    """In place of the saver: the state as files, nothing more."""

    save: Callable[[Path, Progress], None]
    folder: Path
    steps: int

    def after(self, progress: Progress, last: bool) -> None:
        """Write where the other run publishes a checkpoint."""
        if progress.step % self.steps == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            self.save(self.folder, progress)

    def now(self, progress: Progress) -> None:
        """Nothing: turns end at a checkpoint."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of each turn, on and off, and the median of their ratios with a 95% bootstrap interval over turns."""

    on: tuple[float, ...]
    off: tuple[float, ...]
    ratio: float
    low: float
    high: float
    stages: dict[str, float]  # median ratio of a stage's seconds, on over off

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return self.ratio <= CEILING


class Side:
    """One of the two runs."""

    def __init__(self, settings: SafeguardSettings, guarded: bool, folder: Path, stack: ExitStack) -> None:
        from critica.recipes.named import recipe as named
        from critica.records.journal import NoJournal
        from critica.store.run_folder import RunFolder
        from critica.training.assemble import assemble
        from critica.training.guard import Guard
        from critica.training.parts import equip
        from critica.training.progress import Silent
        from critica.training.run import manifest_of
        from critica.training.saving import Saver

        self.settings = settings
        self.recipe = named(
            settings.recipe, f"sampling.prompts_per_step={settings.prompts}", "noise=flip:0.2:group",
            f"sampling.samples_per_prompt={settings.samples}", f"threads={settings.threads}",
            f"checkpoint.every={settings.steps}", *(() if guarded else ("workers.network=true",)),
        )  # fmt: skip
        assembly = assemble(self.recipe)
        stack.callback(assembly.close)
        manifest = manifest_of(self.recipe, assembly.environment.name)
        store = stack.enter_context(RunFolder.create(folder, manifest, "# a benchmark\n"))
        self.parts = equip(self.recipe, assembly, store, Silent())
        if not guarded:
            plain = PlainSaver(assembly.state.save, folder / "plain", settings.steps)
            self.parts = replace(
                self.parts,
                supervision=replace(self.parts.supervision, journal=NoJournal()),
                guard=cast(Guard, Trusting()),
                saver=cast(Saver, plain),
            )
        self.progress = Progress()
        self.store = store

    def turn(self) -> float:
        """Train a few steps; returns their seconds, checkpoint included."""
        from critica.training.interrupt import Interrupt
        from critica.training.loop import run_loop

        recipe = replace(self.recipe, steps=self.progress.step + self.settings.steps)
        start = perf_counter()
        self.progress = run_loop(recipe, self.parts, self.progress, Interrupt())
        return perf_counter() - start


def run_safeguards(order: Order) -> Path:
    """Measure, write safeguards.json and safeguards.md."""
    from critica.policies.numerics import configure, training_matmuls

    settings = apply_sets(SafeguardSettings(), order.settings, {})
    configure(settings.threads)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        sides = [Side(settings, guarded, Path(place) / str(guarded), stack) for guarded in (True, False)]
        stack.enter_context(training_matmuls())
        for side in sides:
            side.turn()  # first touches: pages, threads, workers
        eta = Eta(settings.turns)
        seconds: list[tuple[float, float]] = []
        for number in range(settings.turns):
            pair = [sides[number % 2].turn(), sides[1 - number % 2].turn()]
            seconds.append((pair[number % 2], pair[1 - number % 2]))
            say(f"  turn {number + 1}: on {seconds[-1][0]:.2f} s, off {seconds[-1][1]:.2f} s, {eta.after(1)}")
        same = [list(side.store.metrics()) for side in sides]
        if same[0] != same[1]:
            say("  the two runs did not do the same arithmetic: their metrics differ")
        stages = stage_ratios(sides, settings.steps)
    cost = cost_of(seconds, stages, settings.resamples)
    return write(order, settings, cost, same[0] == same[1])


def stage_ratios(sides: list[Side], skip: int) -> dict[str, float]:
    """Median seconds of each stage, on over off, without the first turn."""
    found = []
    for side in sides:
        lines = [line for line in side.store.timing() if line.step > skip]
        found.append({name: median(line[name] for line in lines) for name in lines[0].values})
    return {name: found[0][name] / found[1][name] for name in found[0] if found[1][name] > 1e-4}


def cost_of(seconds: list[tuple[float, float]], stages: dict[str, float], resamples: int) -> Cost:
    """The median ratio, which one disturbed turn does not move, and its interval from resampled turns."""
    dice = random.Random(0)

    def ratio(pairs: list[tuple[float, float]]) -> float:
        return median(on / off for on, off in pairs)

    drawn = sorted(ratio(dice.choices(seconds, k=len(seconds))) for _ in range(resamples))
    low, high = drawn[int(0.025 * resamples)], drawn[int(0.975 * resamples) - 1]
    on, off = zip(*seconds, strict=True)
    return Cost(tuple(on), tuple(off), ratio(seconds), low, high, stages)


def write(order: Order, settings: SafeguardSettings, cost: Cost, same: bool) -> Path:
    """The raw readings and the page."""
    machine = machine_facts(settings.threads)
    content = {
        "command": "critica bench safeguards", "machine": machine, "settings": asdict(settings),
        "cost": asdict(cost), "same_arithmetic": same,
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "safeguards.json").write_text(json.dumps(content, indent=1) + "\n")
    per = settings.steps
    rows = [f"| {name} | {ratio:.3f} |" for name, ratio in cost.stages.items()]
    page = order.out / "safeguards.md"
    page.write_text(
        "# What the safeguards cost\n\n"
        f"Made by `critica bench safeguards`: {settings.recipe}, {settings.prompts} prompts x {settings.samples}"
        f" samples, {settings.turns} turns of {per} steps and a checkpoint, on and off in turn, in one process."
        f" {machine['processor']}, {settings.threads} threads; commit {machine['commit']}.\n\n"
        f"With the safeguards a step takes {median(cost.on) / per:.3f} s, without {median(cost.off) / per:.3f} s:"
        f" ratio **{cost.ratio:.3f}** [{cost.low:.3f}, {cost.high:.3f}] (median of turns, 95% bootstrap), promised at"
        f" most {CEILING}: {'pass' if cost.kept else 'FAIL'}."
        f" Both runs wrote {'the same metrics to the last bit' if same else 'DIFFERENT metrics'}.\n\n"
        "| stage | on over off (median of steps) |\n|---|---|\n" + "\n".join(rows) + "\n"
    )
    return page


SAFEGUARDS = Bench("safeguards", "what a trustworthy step costs", SafeguardSettings, run_safeguards)
