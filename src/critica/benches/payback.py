"""The payback bench: clean accuracy as samples per prompt fall, for the group baseline and for critics.

Every step draws the same number of samples, so that fewer a prompt means more prompts. A run is one JSON line under a
signature of what decides its numbers; a bench that is cut off goes on from its lines.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from critica.benches.base import Bench, Eta, Order, say
from critica.benches.jobs import keep_line, results
from critica.benches.machine import file_digest, machine_facts, source_digest
from critica.benches.payback_arms import ARMS, base, recipe_of
from critica.benches.payback_figure import payback_figure
from critica.benches.payback_page import payback_page
from critica.benches.payback_trial import Point, Trial, train
from critica.benches.payback_verdict import judged
from critica.benches.pico_trial import PICO
from critica.benches.readings import read_lines
from critica.recipes.config import apply_sets

CLEAN = "none"
DECIDING = ("payback_arms.py", "payback_trial.py", "pico_trial.py")  # beside the timed sources


@dataclass(frozen=True, slots=True)
class PaybackSettings:
    """How the payback bench runs; the defaults are the committed edition.

    `steps` of `samples_per_step` samples each at every arm's `learning_rate`, measured on `prompts` held-out prompts
    every `every` steps. `editions` of reward noise, with `noisy_seeds` seeds at most where there is noise and
    `most_seeds` (0: all that were asked for) anywhere. `jobs` runs at once, one thread each.
    """

    samples_per_step: int = 64
    steps: int = 12
    learning_rate: float = 2e-4
    every: int = 3
    prompts: int = 320
    counts: tuple[int, ...] = (16, 8, 4, 2, 1)
    arms: tuple[str, ...] = tuple(ARMS)
    editions: tuple[str, ...] = (CLEAN, "flip:0.2:sample")
    noisy_seeds: int = 5
    most_seeds: int = 0
    jobs: int = 1

    def __post_init__(self) -> None:
        unknown = [name for name in self.arms if name not in ARMS]
        if unknown:
            raise ValueError(f"there are no arms {', '.join(unknown)}; there are {', '.join(ARMS)}")
        if min(self.steps, self.every, self.prompts, self.jobs) < 1 or min(self.counts, default=0) < 1:
            raise ValueError("steps, every, prompts, jobs and each of counts must be at least 1")


@dataclass(frozen=True, slots=True)
class Run:
    """One arm at one sample count, seed and noise."""

    noise: str
    seed: int
    arm: str
    samples: int

    @property
    def key(self) -> tuple[str, int, str, int]:
        """As its trial's."""
        return self.noise, self.seed, self.arm, self.samples


def run_payback(order: Order) -> Path:
    """Run what is missing, then write payback.json, payback.md and the figures."""
    settings = apply_sets(PaybackSettings(), order.settings, {})
    journal = order.work / "payback" / signature(settings) / "runs.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    runs = runs_of(order.seeds, settings)
    done = {trial.key: trial for trial in trials_in(journal)}
    waiting = [run for run in runs if run.key not in done]
    say(f"{len(runs)} runs, {len(runs) - len(waiting)} done before, {settings.jobs} at a time; kept in {journal}")
    eta = Eta(len(waiting))
    for trial in results(waiting, partial(trial_of, settings=settings), partial(warm_up, settings), settings.jobs):
        keep(journal, trial)
        done[trial.key] = trial
        last = trial.points[-1]
        say(
            f"  {trial.noise} seed {trial.seed} {trial.arm} x{trial.samples_per_prompt}:"
            f" {100 * last.accuracy:.1f}% after {last.cpu_seconds:.1f} CPU s, {eta.after(1)}"
        )
    return write(order.out, settings, [done[run.key] for run in runs if run.key in done])


def runs_of(seeds: int, settings: PaybackSettings) -> list[Run]:
    """Every run, one edition after the other and whole seeds one after the other: a cut-off bench has whole seeds."""
    seeds = min(seeds, settings.most_seeds or seeds)
    return [
        Run(noise, seed, arm, samples)
        for noise in settings.editions
        for seed in range(seeds if noise == CLEAN else min(seeds, settings.noisy_seeds))
        for samples in settings.counts
        for arm in settings.arms
        if samples >= ARMS[arm].fewest
    ]


def signature(settings: PaybackSettings) -> str:
    """What a run's numbers depend on: the code, pico, and the lengths; not which runs there are."""
    here = Path(__file__).parent
    parts = [source_digest(), file_digest(PICO), *(file_digest(here / name) for name in DECIDING)]
    lengths = (settings.samples_per_step, settings.steps, settings.learning_rate, settings.every, settings.prompts)
    return hashlib.blake2b("/".join([*parts, *map(str, lengths)]).encode(), digest_size=6).hexdigest()


def warm_up(settings: PaybackSettings) -> None:
    """Two short steps of PPO that nobody counts: what is built at first use is built."""
    from critica.policies.numerics import configure

    configure(1)
    shared = replace(base(settings.samples_per_step, settings.learning_rate), steps=2)
    train(recipe_of("ppo", 1, shared, CLEAN, 0), 2, 8)


def trial_of(run: Run, settings: PaybackSettings) -> Trial:
    """Train and measure it."""
    shared = replace(base(settings.samples_per_step, settings.learning_rate), steps=settings.steps)
    recipe = recipe_of(run.arm, run.samples, shared, run.noise, run.seed)
    points, greedy = train(recipe, settings.every, settings.prompts)
    return Trial(run.noise, run.arm, run.samples, run.seed, points, greedy)


def keep(journal: Path, trial: Trial) -> None:
    """Append its line."""
    keep_line(journal, asdict(trial))


def trials_in(journal: Path) -> list[Trial]:
    """What is kept."""
    return [
        Trial(**{**line, "points": tuple(Point(**point) for point in line["points"])}) for line in read_lines(journal)
    ]


def write(out: Path, settings: PaybackSettings, trials: Sequence[Trial]) -> Path:
    """payback.json with every run's points, the page, and one figure for each edition."""
    machine = machine_facts(1)
    editions = [found for noise in settings.editions if (found := judged(noise, trials, settings.counts)) is not None]
    content = {
        "command": "critica bench payback",
        "machine": machine,
        "settings": asdict(settings),
        "verdicts": [asdict(edition) for edition in editions],
        "runs": [asdict(trial) for trial in trials],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "payback.json").write_text(json.dumps(without_infinities(content), indent=1, allow_nan=False) + "\n")
    for edition in editions:
        (out / edition.figure).write_text(payback_figure(edition))
    page = out / "payback.md"
    page.write_text(payback_page(machine, settings, editions))
    return page


def without_infinities(value: Any) -> Any:
    """The same with null for the ends of an interval over one seed: JSON knows no infinity."""
    if isinstance(value, dict):
        return {key: without_infinities(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_infinities(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


PAYBACK = Bench(
    "payback",
    "accuracy as samples per prompt fall: group baseline and critics",
    PaybackSettings,
    run_payback,
    quick=("counts=[16,4,1]", 'editions=["none"]', "most_seeds=3"),
)
