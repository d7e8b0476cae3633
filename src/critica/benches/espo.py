"""ESPO's evidence: regret stops, random stops at the same rate, and no stops; tokens written, accuracy, false stops.

Whatever a shorter answer saves, random stops save too: only a rule whose stopped answers would have failed anyway,
and which costs less accuracy than its random twin at the same rate, has shown that regret says something.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

from critica.benches.base import Bench, Eta, Order, say
from critica.benches.espo_table import ARMS, Run, espo_table
from critica.benches.machine import machine_facts, source_digest
from critica.recipes.base import HeldOut, Recipe
from critica.recipes.config import apply_sets
from critica.records.run import StepRecord
from critica.rollout.control import NoControl
from critica.rollout.early_stop import EarlyStop
from critica.training.progress import Silent


@dataclass(frozen=True, slots=True)
class EspoSettings:
    """`steps` of pico at this many prompts and samples, then accuracy on `held_out` prompts.

    `threshold` is where the steering starts: pico's answers have some twenty tokens, so at the paper's 7 next to
    nothing is ever stopped. `audit`: the share of answers that no rule may stop, by which false stops are counted.
    """

    steps: int = 40
    prompts: int = 16
    samples: int = 4
    threshold: float = 0.6
    target: float = 0.25
    audit: float = 0.1
    warmup_steps: int = 5
    held_out: int = 200
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(f"of {self.steps} steps, {self.warmup_steps} of warm-up leave none to stop in")


def recipe_of(arm: str, seed: int, settings: EspoSettings, rate: float) -> Recipe:
    """The recipe espo as this arm runs it; `rate` is the rate of stops that the random arm is steered to."""
    from critica.recipes.named import recipe

    made = recipe(
        "espo", f"sampling.prompts_per_step={settings.prompts}", f"sampling.samples_per_prompt={settings.samples}",
        f"threads={settings.threads}", "checkpoint.every=1000000", steps=settings.steps, seed=seed,
    )  # fmt: skip
    regret = EarlyStop(
        target=settings.target, threshold=settings.threshold, audit=settings.audit, warmup_steps=settings.warmup_steps
    )
    controls = {"none": NoControl(), "regret": regret, "random": replace(regret, at_random=True, target=rate)}
    return replace(made, control=controls[arm], held_out=HeldOut(settings.held_out, 1))


class Tallies(Silent):
    """Totals and counts of the metrics that the rule reports, over the steps in which it acts."""

    def __init__(self, warmup_steps: int) -> None:
        self.warmup_steps = warmup_steps
        self.sums: dict[str, tuple[float, float]] = {}

    def step(self, record: StepRecord) -> None:
        """Add one step."""
        if record.step <= self.warmup_steps:
            return
        for metric in record.metrics:
            total, count = self.sums.get(metric.name, (0.0, 0.0))
            self.sums[metric.name] = (total + metric.total, count + metric.count)


def carried_out(arm: str, seed: int, settings: EspoSettings, rate: float, folder: Path) -> Run:
    """Train this arm, or read what it gave before."""
    kept = folder.with_suffix(".json")
    if kept.is_file():
        return Run(**json.loads(kept.read_text()))
    from critica.training.run import train

    shutil.rmtree(folder, ignore_errors=True)
    tallies, start = Tallies(settings.warmup_steps), perf_counter()
    result = train(recipe_of(arm, seed, settings, rate), folder, lambda steps, done: tallies)
    stopped, answers = tallies.sums.get("control/stop_rate", (0.0, 0.0))
    right, audited = tallies.sums.get("control/false_stop_rate", (0.0, 0.0))
    run = Run(
        arm, seed,
        tokens=round(tallies.sums["tokens/sampled"][0]),
        stop_rate=stopped / answers if answers else 0.0,
        audited=round(audited),
        audited_right=round(right),
        before=tuple(report.accuracy.estimate for report in result.before),
        after=tuple(report.accuracy.estimate for report in result.after),
        seconds=perf_counter() - start,
    )  # fmt: skip
    kept.write_text(json.dumps(asdict(run)))
    return run


def run_espo(order: Order) -> Path:
    """Every arm at every seed, then espo.json and espo.md. Cut off, it goes on where it was."""
    settings = apply_sets(EspoSettings(), order.settings, {})
    mark = hashlib.blake2b(f"{source_digest()}/{settings}".encode(), digest_size=6).hexdigest()
    work = order.work / "espo" / mark
    work.mkdir(parents=True, exist_ok=True)
    runs, eta = [], Eta(order.seeds * len(ARMS))
    for seed in range(order.seeds):
        rate = settings.target
        for arm in ARMS:
            run = carried_out(arm, seed, settings, rate, work / f"{arm}-{seed}")
            rate = max(0.01, run.stop_rate) if arm == "regret" else rate
            runs.append(run)
            say(f"  {arm}-{seed}: stops {run.stop_rate:.3f}, {run.tokens:,} tokens, {eta.after(1)}")
    return write(order, settings, runs)


def write(order: Order, settings: EspoSettings, runs: Sequence[Run]) -> Path:
    """The runs and the page."""
    machine = machine_facts(settings.threads)
    content = {
        "command": "critica bench espo", "machine": machine, "settings": asdict(settings),
        "runs": [asdict(run) for run in runs],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "espo.json").write_text(json.dumps(content, indent=1) + "\n")
    page = order.out / "espo.md"
    page.write_text(espo_table(machine, asdict(settings), runs))
    return page


ESPO_EVIDENCE = Bench("espo", "regret stops against random stops at the same rate and none", EspoSettings, run_espo)
