"""What the noise bench's runs say: each arm under each noise, against its own clean self, GRPO and PPO."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from critica.benches.noise_mechanism import Mechanism
from critica.benches.noise_settings import CLEAN, CONTROLS
from critica.benches.noise_trial import Trial
from critica.functional.statistics import Interval, mean_interval, wilson_interval

RIVALS = ("grpo", "ppo")


@dataclass(frozen=True, slots=True)
class Cell:
    """An arm under one noise, over its seeds, with Student's 95% intervals; accuracy is always the clean one.

    `area`: mean accuracy over the samples drawn. `collapsed`: how many seeds end below the start by more than its own
    interval over the held-out prompts. `kept`: the final accuracy over that of the clean run with the same seed.
    `idle`: seeds that found no group to learn from before all was drawn. `over`: the final accuracy minus GRPO's and
    PPO's, paired by seed. The mechanism is averaged over a run's points.
    """

    noise: str
    arm: str
    seeds: tuple[int, ...]
    rate: float
    final: Interval
    greedy: Interval
    area: Interval
    worst: float
    collapsed: int
    kept: Interval | None
    over: Mapping[str, Interval | None]
    mechanism: Mapping[str, Interval | None]
    own_outcome: bool
    idle: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Board:
    """All cells of one task mix. `floor`: the lower end of the start's interval; whoever ends below has collapsed."""

    mix: str
    samples: int
    start: float
    floor: float
    cells: tuple[Cell, ...]
    retained: Mapping[str, tuple[Interval, int]]

    @property
    def noises(self) -> tuple[str, ...]:
        """Every noise that was run, clean first, controls last."""
        found = dict.fromkeys(cell.noise for cell in self.cells)
        return tuple(sorted(found, key=lambda noise: (noise != CLEAN, noise in CONTROLS)))

    @property
    def noisy(self) -> tuple[str, ...]:
        """Noises that still tell something about the answer: neither clean nor a control."""
        return tuple(noise for noise in self.noises if noise != CLEAN and noise not in CONTROLS)

    @property
    def arms(self) -> tuple[str, ...]:
        """In the order in which they ran."""
        return tuple(dict.fromkeys(cell.arm for cell in self.cells))

    def cell(self, noise: str, arm: str) -> Cell | None:
        """This one, if it was run."""
        return next((cell for cell in self.cells if (cell.noise, cell.arm) == (noise, arm)), None)


def board_of(mix: str, trials: Sequence[Trial], held_out: int) -> Board | None:
    """The mix's cells; None if nothing was run on it."""
    here = [trial for trial in trials if trial.mix == mix]
    if not here:
        return None
    runs: dict[tuple[str, str], dict[int, Trial]] = {}
    for trial in here:
        runs.setdefault((trial.noise, trial.arm), {})[trial.seed] = trial
    start = here[0].points[0].accuracy
    floor = wilson_interval(round(start * held_out), held_out).low
    cells = tuple(cell_of(noise, arm, runs, floor) for noise, arm in runs)
    samples = min(trial.points[-1].samples for trial in here)
    return Board(mix, samples, start, floor, cells, retained_of(runs))


def cell_of(noise: str, arm: str, runs: Mapping[tuple[str, str], Mapping[int, Trial]], floor: float) -> Cell:
    """One arm under one noise."""
    mine = runs[noise, arm]
    trials = [mine[seed] for seed in sorted(mine)]
    last = [trial.final for trial in trials]
    clean = runs.get((CLEAN, arm), {})
    return Cell(
        noise, arm, tuple(sorted(mine)), trials[0].learning_rate,
        mean_interval(last),
        mean_interval([trial.greedy for trial in trials]),
        mean_interval([trial.area for trial in trials]),
        min(last),
        sum(one < floor for one in last),
        None if noise == CLEAN else paired(mine, clean, lambda a, b: a.final / b.final if b.final else math.nan),
        {rival: paired(mine, runs.get((noise, rival), {}), difference) if rival != arm else None for rival in RIVALS},
        {name: over_run(trials, name) for name in ("explained", "within", "alignment", "changed")},
        any(trial.own_outcome for trial in trials),
        sum(trial.idle_after is not None for trial in trials),
        sum(trial.points[-1].cpu_seconds for trial in trials) / len(trials),
    )  # fmt: skip


def difference(one: Trial, other: Trial) -> float:
    """Final accuracy minus the other's."""
    return one.final - other.final


def paired(
    of: Mapping[int, Trial], to: Mapping[int, Trial], compare: Callable[[Trial, Trial], float]
) -> Interval | None:
    """Student's interval over the seeds that both have; None if they share none."""
    found = [compare(of[seed], to[seed]) for seed in sorted(of.keys() & to.keys())]
    known = [value for value in found if not math.isnan(value)]
    return mean_interval(known) if known else None


def over_run(trials: Sequence[Trial], name: str) -> Interval | None:
    """A part of the mechanism, averaged over a run's points, over the seeds."""
    means = []
    for trial in trials:
        found = [getattr(point.mechanism, name) for point in trial.points if isinstance(point.mechanism, Mechanism)]
        known = [value for value in found if value is not None]
        if known:
            means.append(math.fsum(known) / len(known))
    return mean_interval(means) if means else None


def retained_of(runs: Mapping[tuple[str, str], Mapping[int, Trial]]) -> dict[str, tuple[Interval, int]]:
    """Of each arm: the share of its own clean accuracy kept, averaged over the noisy columns, and over how many.

    Only columns that every arm with a clean run was run under, and in them the seeds that this arm has in all: a mean
    over other columns would be another quantity.
    """
    arms = [arm for noise, arm in runs if noise == CLEAN]
    noises = [
        noise
        for noise in dict.fromkeys(noise for noise, _ in runs)
        if noise != CLEAN and noise not in CONTROLS and all((noise, arm) in runs for arm in arms)
    ]
    found = {}
    for arm in arms:
        tables = [runs[noise, arm] for noise in (CLEAN, *noises)]
        seeds = sorted(set.intersection(*(set(table) for table in tables)))
        shares = [
            math.fsum(table[seed].final / tables[0][seed].final for table in tables[1:]) / len(noises)
            for seed in seeds
            if noises and tables[0][seed].final
        ]
        if shares:
            found[arm] = mean_interval(shares), len(noises)
    return found
