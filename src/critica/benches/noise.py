"""The noise bench: clean accuracy of recipes that train on supervision which is wrong in a stated way.

A run is one JSON line under a signature of what decides its numbers. What is in the journal or in the committed
noise.json is not run again, so that the grid can be filled over several occasions; a page shows all of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from critica.benches.base import Bench, Order
from critica.benches.machine import commit, machine_facts
from critica.benches.noise_figure import noise_figure
from critica.benches.noise_page import figure_name, noise_page
from critica.benches.noise_settings import NoiseSettings, every_run, runs_of
from critica.benches.noise_store import filled, known
from critica.benches.noise_trial import Trial, trial_of, warm_up
from critica.benches.noise_tuning import read_rates
from critica.benches.noise_verdict import board_of
from critica.benches.payback import without_infinities
from critica.recipes.config import apply_sets


def run_noise(order: Order) -> Path:
    """Run what is missing, then write noise.json, noise.md and a figure for each task mix."""
    settings = apply_sets(NoiseSettings(), order.settings, {})
    rates = read_rates(order.out / "noise_tuning.json")
    files = order.work / "noise" / "runs.jsonl", order.out / "noise.json"
    runs = runs_of(order.seeds, settings, rates)
    made = (partial(trial_of, lengths=settings.lengths, commit=commit()), warm_up)
    kept = filled(files, runs, settings.lengths, settings.jobs, made, told)
    shown = known(every_run(order.seeds, settings, rates), settings.lengths, kept)
    return write(order, settings, shown, rates, kept)


def told(trial: Trial) -> str:
    """A finished run in a line."""
    last = trial.points[-1]
    return (
        f"{trial.mix} {trial.noise} seed {trial.seed} {trial.arm}: {100 * trial.final:.1f}% after {last.samples:,}"
        f" samples, {last.cpu_seconds:.0f} CPU s"
    )


def write(
    order: Order, settings: NoiseSettings, trials: Sequence[Trial], rates: dict[str, float], kept: Mapping[str, Trial]
) -> Path:
    """noise.json with the points of all runs that are known, the page of those asked about, and the figures."""
    machine = machine_facts(1)
    mixes = tuple(dict.fromkeys(trial.mix for trial in trials))
    boards = [board for mix in mixes if (board := board_of(mix, trials, settings.lengths.held_out)) is not None]
    content = {
        "command": "critica bench noise",
        "machine": machine,
        "settings": asdict(settings),
        "rates": rates,
        "boards": [asdict(board) for board in boards],
        "runs": [asdict(trial) for trial in kept.values()],
    }
    out = order.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "noise.json").write_text(json.dumps(without_infinities(content), indent=1, allow_nan=False) + "\n")
    for board in boards:
        (out / figure_name(board.mix)).write_text(noise_figure(board, trials))
    page = out / "noise.md"
    page.write_text(noise_page(machine, settings, order.seeds, boards, trials, rates))
    return page


NOISE = Bench(
    "noise",
    "clean accuracy of recipes under noisy rewards: group baselines, critics, controls",
    NoiseSettings,
    run_noise,
    quick=(
        'noises=["none","flip:0.4:sample","flip:0.4:group"]', 'arms=["grpo","ppo","dvpo","surprise","hl_gauss"]',
        "most_seeds=3", "lengths.steps=24", "lengths.every=4",
    ),
)  # fmt: skip
