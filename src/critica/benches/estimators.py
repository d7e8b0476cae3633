"""The bench of group estimators: what recipes that differ in their use of a group's outcomes reach on equal samples.

Runs, points and the journal are the noise bench's, on clean rewards; here they are laid side by side, estimator by
estimator, at one update a step (where only what becomes of the outcomes differs) and at several (where ratios leave 1
and surrogates differ as well).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from critica.benches.base import Bench, Order
from critica.benches.estimators_page import estimators_figure, estimators_page, figure_of
from critica.benches.estimators_verdict import REFERENCE, Round, round_of
from critica.benches.machine import commit, machine_facts
from critica.benches.noise_arms import ESTIMATORS, UPDATES, Lengths, Run, updated_name
from critica.benches.noise_mixes import MIXES
from critica.benches.noise_settings import CLEAN, refuse_unknown
from critica.benches.noise_store import filled, known
from critica.benches.noise_trial import Trial, trial_of, warm_up
from critica.benches.payback import without_infinities
from critica.recipes.config import apply_sets


@dataclass(frozen=True, slots=True)
class EstimatorsSettings:
    """How the bench of estimators runs; the defaults are the committed edition.

    Every estimator trains on `mix` for `lengths`, once with each count of `updates` a step and the learning rate that
    stands at its place in `learning_rates`. `jobs` runs at once, one thread each.
    """

    estimators: tuple[str, ...] = ESTIMATORS
    updates: tuple[int, ...] = UPDATES
    learning_rates: tuple[float, ...] = (2e-4, 1e-4)
    mix: str = "worked"
    lengths: Lengths = field(default_factory=Lengths)
    jobs: int = 1

    def __post_init__(self) -> None:
        refuse_unknown(self.estimators, ESTIMATORS, "estimators")
        refuse_unknown((self.mix,), MIXES, "mixes")
        refuse_unknown([str(count) for count in self.updates], [str(count) for count in UPDATES], "updates")
        if REFERENCE not in self.estimators:
            raise ValueError(f"{REFERENCE} is what the others are held against: name it among the estimators")
        if len(self.updates) != len(self.learning_rates) or not all(rate > 0 for rate in self.learning_rates):
            raise ValueError("every count of updates needs a learning rate above 0 of its own")
        if self.jobs < 1:
            raise ValueError("jobs must be at least 1")


def runs_of(seeds: int, settings: EstimatorsSettings) -> list[Run]:
    """Every run, whole seeds one after the other, so that a cut-off bench has whole seeds."""
    return [
        Run(settings.mix, CLEAN, updated_name(name, updates), seed, rate)
        for seed in range(seeds)
        for updates, rate in zip(settings.updates, settings.learning_rates, strict=True)
        for name in settings.estimators
    ]


def run_estimators(order: Order) -> Path:
    """Run what is missing, then write estimators.json, estimators.md and a figure for each count of updates."""
    settings = apply_sets(EstimatorsSettings(), order.settings, {})
    files = order.work / "estimators" / "runs.jsonl", order.out / "estimators.json"
    runs = runs_of(order.seeds, settings)
    made = (partial(trial_of, lengths=settings.lengths, commit=commit()), warm_up)
    kept = filled(files, runs, settings.lengths, settings.jobs, made, told)
    return write(order, settings, known(runs, settings.lengths, kept), kept)


def told(trial: Trial) -> str:
    """A finished run in a line."""
    last = trial.points[-1]
    return (
        f"seed {trial.seed} {trial.arm}: {100 * trial.final:.1f}% after {last.samples:,} samples,"
        f" {last.cpu_seconds:.0f} CPU s"
    )


def write(order: Order, settings: EstimatorsSettings, trials: Sequence[Trial], kept: Mapping[str, Trial]) -> Path:
    """estimators.json with every run's points, the page, and the figures."""
    machine = machine_facts(1)
    rounds: list[Round] = [
        found
        for updates, rate in zip(settings.updates, settings.learning_rates, strict=True)
        if (found := round_of(updates, rate, settings.estimators, trials)) is not None
    ]
    content = {
        "command": "critica bench estimators",
        "machine": machine,
        "settings": asdict(settings),
        "rounds": [asdict(one) for one in rounds],
        "runs": [asdict(trial) for trial in kept.values()],
    }
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "estimators.json").write_text(
        json.dumps(without_infinities(content), indent=1, allow_nan=False) + "\n"
    )
    for one in rounds:
        (order.out / figure_of(one)).write_text(estimators_figure(one, trials))
    page = order.out / "estimators.md"
    page.write_text(estimators_page(machine, settings, order.seeds, rounds))
    return page


ESTIMATORS_BENCH = Bench(
    "estimators",
    "what group estimators reach on equal samples, beyond the intervals and not",
    EstimatorsSettings,
    run_estimators,
    quick=('estimators=["grpo","rloo","max_rl"]', "lengths.steps=12", "lengths.every=3", "lengths.held_out=96"),
)
