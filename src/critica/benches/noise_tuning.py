"""The search of learning rates for the noise bench: the same few for every recipe, on tasks that the bench has not."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from critica.benches.base import Bench, Order
from critica.benches.machine import commit
from critica.benches.noise_arms import ARMS, CORE_ARMS, FURTHER_ARMS, Lengths, Run
from critica.benches.noise_mixes import BENCH_MIXES, CLAIM_MIX, TUNING_MIX
from critica.benches.noise_settings import refuse_unknown
from critica.benches.noise_store import filled, known
from critica.benches.noise_trial import Trial, trial_of, warm_up
from critica.recipes.config import apply_sets
from critica.rewards.noise_specs import parse_noise

LAST_POINTS = 3
SEED = 1000  # no seed of the bench


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """Every arm at each of `rates` under each of `noises`, once. `lengths` are the bench's."""

    arms: tuple[str, ...] = (*CORE_ARMS, *FURTHER_ARMS)
    rates: tuple[float, ...] = (1e-4, 2e-4, 4e-4)
    noises: tuple[str, ...] = ("none", "flip:0.2:sample")
    mix: str = TUNING_MIX
    lengths: Lengths = field(default_factory=Lengths)
    jobs: int = 2

    def __post_init__(self) -> None:
        refuse_unknown(self.arms, ARMS, "arms")
        borrowed = [name for name in self.arms if ARMS[name].tuned_as != name]
        if borrowed:
            raise ValueError(f"{', '.join(borrowed)} take another arm's rate: tune {ARMS[borrowed[0]].tuned_as}")
        if self.mix in (*BENCH_MIXES, CLAIM_MIX):
            raise ValueError(f"{self.mix!r} is what the bench measures on: search on other tasks, such as {TUNING_MIX}")
        if not self.rates or min(self.rates) <= 0 or self.jobs < 1:
            raise ValueError("rates must be above 0, at least one of them, and jobs at least 1")
        for noise in self.noises:
            parse_noise(noise)


def run_tuning(order: Order) -> Path:
    """Run what is missing, then write noise_tuning.json (which the bench reads) and its page, for all arms searched."""
    settings = apply_sets(TuningSettings(), order.settings, {})
    runs = tuning_runs(settings)
    files = order.work / "noise" / "tuning.jsonl", order.out / "noise_tuning.json"
    made = (partial(trial_of, lengths=settings.lengths, commit=commit()), warm_up)
    kept = filled(files, runs, settings.lengths, settings.jobs, made, told)
    everybody = replace(settings, arms=tuple(name for name, arm in ARMS.items() if arm.tuned_as == name))
    done = known(tuning_runs(everybody), settings.lengths, kept)
    rates = best_rates(done, everybody)
    order.out.mkdir(parents=True, exist_ok=True)
    content = {
        "command": "critica bench noise_tuning",
        "settings": asdict(settings),
        "rates": rates,
        "runs": [asdict(trial) for trial in kept.values()],
    }
    (order.out / "noise_tuning.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    page = order.out / "noise_tuning.md"
    page.write_text(tuning_page(done, rates, everybody))
    return page


def told(trial: Trial) -> str:
    """A finished run in a line."""
    return f"{trial.arm} at {trial.learning_rate:g}, {trial.noise}: {100 * level(trial):.1f}"


def tuning_runs(settings: TuningSettings) -> list[Run]:
    """Whole arms one after the other."""
    return [
        Run(settings.mix, noise, arm, SEED, rate)
        for arm in settings.arms
        for rate in settings.rates
        for noise in settings.noises
    ]


def level(trial: Trial) -> float:
    """What is compared: accuracy at temperature 1, averaged over the last points, for one alone is a coarse number."""
    last = trial.points[1:][-LAST_POINTS:]
    return sum(point.accuracy for point in last) / len(last)


def best_rates(trials: Sequence[Trial], settings: TuningSettings) -> dict[str, float]:
    """The rate with the highest mean over the noises, of equal ones the lowest; none for an arm with a run missing."""
    scores = scores_of(trials)
    found = {}
    for arm in settings.arms:
        sums = {rate: [scores.get((arm, rate, noise)) for noise in settings.noises] for rate in settings.rates}
        if all(score is not None for part in sums.values() for score in part):
            totals = {rate: sum(score for score in part if score is not None) for rate, part in sums.items()}
            found[arm] = max(sorted(totals), key=lambda rate: totals[rate])
    return found


def scores_of(trials: Sequence[Trial]) -> dict[tuple[str, float, str], float]:
    """By arm, rate and noise."""
    return {(trial.arm, trial.learning_rate, trial.noise): level(trial) for trial in trials}


def read_rates(path: Path) -> dict[str, float]:
    """What a search has committed; empty if there was none."""
    return {arm: float(rate) for arm, rate in json.loads(path.read_text())["rates"].items()} if path.is_file() else {}


def tuning_page(trials: Sequence[Trial], rates: Mapping[str, float], settings: TuningSettings) -> str:
    """What was tried and what was taken."""
    scores, lengths = scores_of(trials), settings.lengths
    heads = [f"{rate:g}, {noise}" for rate in settings.rates for noise in settings.noises]
    lines = [
        "# Learning rates of the noise bench\n",
        "Made by `critica bench noise_tuning`; every number is in noise_tuning.json, which `critica bench noise` reads."
        f" Runs made at {', '.join(sorted({trial.commit for trial in trials})) or 'no commit'}.\n",
        f"Every recipe was given the same search: {len(settings.rates)} learning rates of the policy, under"
        f" {' and '.join(f'`{noise}`' for noise in settings.noises)}, one run each (seed {SEED}) of"
        f" {lengths.samples:,} samples on tasks `{settings.mix}`, which the bench does not measure on. Taken is the"
        " rate with the highest mean of clean accuracy at temperature 1 over the noises and the last"
        f" {LAST_POINTS} measurements ({lengths.held_out} held-out prompts each). Nothing else was searched for any"
        " arm. Differences of two or three points are within chance: the search keeps an arm from a rate that is wrong"
        " for it, no more.\n",
        f"| arm | {' | '.join(heads)} | taken |",
        "|---" * (2 + len(heads)) + "|",
    ]
    for arm in (name for name in settings.arms if any(key[0] == name for key in scores)):
        said = [scores.get((arm, rate, noise)) for rate in settings.rates for noise in settings.noises]
        cells = ["" if score is None else f"{100 * score:.1f}" for score in said]
        lines.append(f"| {arm} | {' | '.join(cells)} | {f'{rates[arm]:g}' if arm in rates else ''} |")
    return "\n".join(lines) + "\n"


NOISE_TUNING = Bench(
    "noise_tuning",
    "the learning rate of every recipe in the noise bench, searched on other tasks",
    TuningSettings,
    run_tuning,
)
