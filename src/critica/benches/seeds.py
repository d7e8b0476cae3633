"""The seeds bench: the demo over several seeds, its control, and reference systems at equal steps; runs are kept."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from critica.benches.base import Bench, BenchFailed, Eta, Order, child_environment, say
from critica.benches.machine import file_digest, machine_facts, source_digest
from critica.benches.seeds_table import SeedResult, seeds_table, summaries
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.config import apply_sets, to_tables
from critica.recipes.notes import provenance_notes
from critica.recipes.toml import write_toml

COMMAND = (sys.executable, "-c", "from critica.cli.main import entry; entry()")
NOISE, CONTROL = "flip:0.2:group", "flip:0.5:group"
PACKAGE = Path(__file__).parents[1]
DECIDING = ("cli/demo.py", "assets/pico/model.safetensors", "assets/pico/tokenizer.json")  # beside the timed sources


@dataclass(frozen=True, slots=True)
class SeedsSettings:
    """How the seeds bench runs.

    `jobs` runs go at once, on `threads` threads each; more than one makes their wall seconds useless as a promise.
    `reference_seeds`: seeds of grpo, ppo and the run without noise. `steps` 0: as many as the demo makes.
    """

    jobs: int = 1
    threads: int = 2
    reference_seeds: int = 3
    steps: int = 0
    held_out: int = 0

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.threads < 1 or self.reference_seeds < 0:
            raise ValueError("jobs and threads must be at least 1, reference_seeds at least 0")


@dataclass(frozen=True, slots=True)
class System:
    """A trained system. `recipe` is empty for the demo itself, else what stands in for DVPO in its config."""

    name: str
    noise: str
    recipe: str = ""


DEMO = System("dvpo", NOISE)
SYSTEMS = (
    DEMO,
    System("dvpo-control", CONTROL),
    System("dvpo-clean", "none"),
    System("grpo", NOISE, "grpo"),
    System("ppo", NOISE, "ppo"),
)
MANY = ("dvpo", "dvpo-control")  # these get all the seeds


@dataclass(frozen=True, slots=True)
class Run:
    """One system at one seed, in its folder."""

    system: System
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """As its folder is called."""
        return self.folder.name

    @property
    def mark(self) -> Path:
        """The file that says it is done, and how long it took."""
        return self.folder.with_name(f"{self.name}.json")

    @property
    def done(self) -> bool:
        """Whether it has finished."""
        return self.mark.is_file() and json.loads(self.mark.read_text())["finished"]

    @property
    def seconds(self) -> float:
        """Wall seconds spent on it so far."""
        return json.loads(self.mark.read_text())["seconds"] if self.mark.is_file() else 0.0


def run_seeds(order: Order) -> Path:
    """Run what is missing, then write seeds.json and seeds.md. Cut off, it goes on where it was."""
    settings = apply_sets(SeedsSettings(), order.settings, {})
    work = order.work / "seeds" / signature(settings)
    work.mkdir(parents=True, exist_ok=True)
    runs = runs_of(order.seeds, settings, work)
    first = runs[0]
    waiting = [run for run in runs if not run.done]
    say(f"{len(runs)} runs, {len(runs) - len(waiting)} done before; {settings.jobs} at a time")
    eta = Eta(len(waiting))
    if not first.done:
        carry_out([first], settings, first, eta)  # the others read its resolved config
    carry_out([run for run in waiting if run is not first], settings, first, eta)
    return write(order.out, settings, runs)


def runs_of(seeds: int, settings: SeedsSettings, work: Path) -> list[Run]:
    """Every run, those that matter most first."""
    return [
        Run(system, seed, work / f"{system.name}-{seed}")
        for system in SYSTEMS
        for seed in range(seeds if system.name in MANY else min(seeds, settings.reference_seeds))
    ]


def signature(settings: SeedsSettings) -> str:
    """What a run's numbers depend on: the code, the demo's settings, pico, threads and length."""
    parts = [source_digest(), *(file_digest(PACKAGE / name) for name in DECIDING)]
    parts += [str(settings.threads), str(settings.steps), str(settings.held_out)]
    return hashlib.blake2b("/".join(parts).encode(), digest_size=6).hexdigest()


def carry_out(runs: Sequence[Run], settings: SeedsSettings, first: Run, eta: Eta) -> None:
    """Run them, `jobs` at a time. Raises `BenchFailed` for a run that fails; the others are kept."""
    waiting, live = list(runs), {}
    try:
        while waiting or live:
            while waiting and len(live) < settings.jobs:
                run = waiting.pop(0)
                live[run] = (launch(run, settings, first), time.monotonic())
            time.sleep(0.5)
            for run, (process, start) in list(live.items()):
                if process.poll() is None:
                    continue
                del live[run]
                finish(run, process.returncode, time.monotonic() - start)
                say(f"  {run.name}: {run.seconds:.0f} s, {eta.after(1)}")
    finally:
        for run, (process, start) in live.items():
            process.terminate()  # it stops after its step, with a checkpoint
            process.wait()
            keep_seconds(run, False, time.monotonic() - start)


def launch(run: Run, settings: SeedsSettings, first: Run) -> subprocess.Popen[bytes]:
    """Start the run, or continue it from its checkpoint."""
    log = run.folder.with_name(f"{run.name}.log").open("ab")
    with log:
        return subprocess.Popen(
            [*COMMAND, *words_of(run, settings, first)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            env=child_environment(settings.threads),
        )  # fmt: skip


def words_of(run: Run, settings: SeedsSettings, first: Run) -> list[str]:
    """The command line after `critica`."""
    measured = (run.folder / "evaluations" / "before-greedy.json").is_file()
    if measured and any((run.folder / "checkpoints").glob("step_*")):
        return ["resume", str(run.folder)]
    shutil.rmtree(run.folder, ignore_errors=True)
    shared = ["--seed", str(run.seed), "--run", str(run.folder), "--set", f"threads={settings.threads}"]
    if settings.steps:
        shared += ["--set", f"steps={settings.steps}"]
    if settings.held_out:
        shared += ["--set", f"held_out.prompts={settings.held_out}"]
    if not run.system.recipe:
        return ["demo", "--noise", run.system.noise, *shared]
    return ["train", str(reference_file(run, first)), *shared]


def reference_file(run: Run, first: Run) -> Path:
    """A recipe file: the demo's tasks, sizes, steps, noise and optimizers, with another system's method."""
    from critica.store.run_folder import RunFolder
    from critica.training.saved_recipe import recipe_of

    demo = recipe_of(RunFolder.open(first.folder))
    kept = ("policy", "environment", "reward", "noise", "sampling", "learner", "checkpoint", "held_out", "steps")
    recipe = replace(RECIPES[run.system.recipe], **{name: getattr(demo, name) for name in kept})
    path = run.folder.with_name(f"{run.name}.toml")
    path.write_text(write_toml(to_tables(recipe, PARTS), provenance_notes(recipe)))
    return path


def finish(run: Run, status: int, seconds: float) -> None:
    """Mark the run as done. Raises `BenchFailed` if it is not."""
    done = status == 0 and (run.folder / "evaluations" / "after-greedy.json").is_file()
    keep_seconds(run, done, seconds)
    if not done:
        log = run.folder.with_name(f"{run.name}.log")
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        raise BenchFailed(f"the run {run.name} ended with status {status}; {log} ends:\n{tail}")


def keep_seconds(run: Run, finished: bool, seconds: float) -> None:
    """Add to the run's wall seconds."""
    run.mark.write_text(json.dumps({"finished": finished, "seconds": round(run.seconds + seconds, 1)}))


def result_of(run: Run) -> SeedResult:
    """Before and after, both ways of decoding, prompt by prompt."""
    from critica.evaluation.intervals import difference
    from critica.store.evaluations import load_evaluations

    reports = {item.name: item.report for item in load_evaluations(run.folder)}
    gains = [difference(reports[f"before-{way}"], reports[f"after-{way}"], ("before", "after")).interval
             for way in ("temperature_1", "greedy")]  # fmt: skip
    before, after = (
        tuple(reports[f"{when}-{way}"].accuracy.estimate for way in ("temperature_1", "greedy"))
        for when in ("before", "after")
    )
    prompts = len(reports["before-greedy"].prompts)
    return SeedResult(run.system.name, run.system.noise, run.seed, prompts, before, after, tuple(gains), run.seconds)


def write(out: Path, settings: SeedsSettings, runs: Sequence[Run]) -> Path:
    """seeds.json with every run's numbers, and the table."""
    results = [result_of(run) for run in runs]
    machine = machine_facts(settings.threads)
    content = {
        "command": "critica bench seeds",
        "machine": machine,
        "settings": asdict(settings),
        "runs": [asdict(result) for result in results],
        "systems": [asdict(summary) for summary in summaries(results)],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "seeds.json").write_text(json.dumps(content, indent=1) + "\n")
    table = out / "seeds.md"
    table.write_text(seeds_table(machine, settings.jobs, results))
    return table


SEEDS = Bench("seeds", "the demo over seeds, its control, and references at equal steps", SeedsSettings, run_seeds)
