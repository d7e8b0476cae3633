"""The counted-cost bench: what critics that count add to a GRPO step, in shares of that very step.

Each recipe trains a few steps in this process; a step's own clock says how long predict and estimate took and how
long all of it did, so that a busy machine slows both alike.
"""

import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import cast

from critica.benches.base import Bench, Order, say
from critica.benches.machine import machine_facts
from critica.recipes.config import apply_sets

CEILING = 0.10
COUNTED = ("grpo", "tempo", "numca", "hista", "beta_baseline", "v0", "v0_5")


@dataclass(frozen=True, slots=True)
class CountedCostSettings:
    """`steps` measured steps of each recipe after `warmup`, at this many prompts and samples."""

    steps: int = 20
    warmup: int = 3
    prompts: int = 16
    samples: int = 8
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Share:
    """Medians over a recipe's steps: seconds of predict and estimate, of the whole step, and the median ratio."""

    recipe: str
    critic_seconds: float
    step_seconds: float
    share: float

    @property
    def kept(self) -> bool:
        """Whether the critic stays within its promise."""
        return self.share <= CEILING


def share_of(recipe: str, steps: list[dict[str, float]]) -> Share:
    """The shares of steps given as seconds by stage."""
    critic = [step["predict"] + step["estimate"] for step in steps]
    whole = [sum(step.values()) for step in steps]
    ratios = [part / all_of_it for part, all_of_it in zip(critic, whole, strict=True)]
    return Share(recipe, median(critic), median(whole), median(ratios))


def measured(name: str, settings: CountedCostSettings, folder: Path) -> Share:
    """Train this recipe and read its clock."""
    from critica.policies.numerics import training_matmuls
    from critica.recipes.named import recipe as named
    from critica.records.run import Progress
    from critica.store.run_folder import RunFolder
    from critica.training.assemble import assemble
    from critica.training.interrupt import Interrupt
    from critica.training.loop import run_loop
    from critica.training.parts import equip
    from critica.training.progress import Silent
    from critica.training.run import manifest_of

    recipe = named(
        name, f"sampling.prompts_per_step={settings.prompts}", f"sampling.samples_per_prompt={settings.samples}",
        f"threads={settings.threads}", "checkpoint.every=1000000",
    )  # fmt: skip
    recipe = replace(recipe, steps=settings.warmup + settings.steps)
    with ExitStack() as stack:
        assembly = assemble(recipe)
        stack.callback(assembly.close)
        made = RunFolder.create(folder, manifest_of(recipe, assembly.environment.name), "# a benchmark\n")
        store = cast(RunFolder, stack.enter_context(made))
        stack.enter_context(training_matmuls())
        run_loop(recipe, equip(recipe, assembly, store, Silent()), Progress(), Interrupt())
        steps = [dict(line.values) for line in store.timing() if line.step > settings.warmup]
    stages = ("gather", "observe", "place", "predict", "estimate", "update", "measure")
    return share_of(name, [{stage: step[stage] for stage in stages} for step in steps])


def run_counted_cost(order: Order) -> Path:
    """Measure every recipe, write counted_cost.json and counted_cost.md."""
    from critica.policies.numerics import configure

    settings = apply_sets(CountedCostSettings(), order.settings, {})
    configure(settings.threads)
    shares = []
    with tempfile.TemporaryDirectory() as place:
        for name in COUNTED:
            start = perf_counter()
            shares.append(measured(name, settings, Path(place) / name))
            say(f"  {name}: {100 * shares[-1].share:.2f}% of a step ({perf_counter() - start:.0f} s)")
    return write(order, settings, shares)


def write(order: Order, settings: CountedCostSettings, shares: list[Share]) -> Path:
    """The raw readings and the page."""
    machine = machine_facts(settings.threads)
    content = {
        "command": "critica bench counted_cost", "machine": machine, "settings": asdict(settings),
        "shares": [asdict(share) for share in shares],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "counted_cost.json").write_text(json.dumps(content, indent=1) + "\n")
    rows = [
        f"| {share.recipe} | {1000 * share.critic_seconds:.1f} | {1000 * share.step_seconds:.0f} |"
        f" {100 * share.share:.2f}% | {'pass' if share.kept else 'FAIL'} |"
        for share in shares
    ]
    page = order.out / "counted_cost.md"
    page.write_text(
        "# What critics that count cost\n\n"
        f"Made by `critica bench counted_cost`: {settings.prompts} prompts x {settings.samples} samples, medians over"
        f" {settings.steps} steps, {settings.threads} threads; {machine['processor']}, commit {machine['commit']}."
        f" Promised: predict and estimate take at most {100 * CEILING:.0f}% of the step they are part of.\n\n"
        "| recipe | predict + estimate, ms | step, ms | share | verdict |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )
    return page


COUNTED_COST = Bench("counted_cost", "what critics that count cost a step", CountedCostSettings, run_counted_cost)
