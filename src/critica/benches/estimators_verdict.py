"""What the bench of group estimators says: each against GRPO seed by seed, and whether they differ at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critica.benches.noise_arms import updated_name
from critica.benches.noise_trial import Trial
from critica.benches.noise_verdict import difference, paired
from critica.functional.statistics import Interval, mean_interval

REFERENCE = "grpo"
PERMUTATIONS = 20_000
CERTAINTY = 0.95


@dataclass(frozen=True, slots=True)
class Row:
    """An estimator over its seeds, with Student's 95% intervals.

    `over`: final accuracy minus the reference's, paired by seed; `over_all` the same with Bonferroni's correction for
    as many comparisons as the round makes. `area`: mean accuracy over the samples drawn. None: the reference itself.
    """

    name: str
    seeds: tuple[int, ...]
    final: Interval
    area: Interval
    greedy: Interval
    worst: float
    over: Interval | None
    over_all: Interval | None
    area_over: Interval | None
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Round:
    """All estimators at one count of updates a step, the best first.

    `differ`: the chance of a spread of means as wide as this one, or wider, if which estimator ran made no difference
    (names exchanged at random within each seed); of the final accuracies, and of the areas.
    """

    updates: int
    learning_rate: float
    samples: int
    start: float
    rows: tuple[Row, ...]
    differ: float
    differ_area: float


def round_of(updates: int, rate: float, names: Sequence[str], trials: Sequence[Trial]) -> Round | None:
    """The rows of the estimators that have run; None before the reference has."""
    runs = {
        name: found
        for name in names
        if (found := {trial.seed: trial for trial in trials if trial.arm == updated_name(name, updates)})
    }
    if REFERENCE not in runs:
        return None
    rows = sorted((row_of(name, runs) for name in runs), key=lambda row: -row.final.estimate)
    first = next(iter(runs[REFERENCE].values()))
    return Round(
        updates, rate, min(trial.points[-1].samples for found in runs.values() for trial in found.values()),
        first.points[0].accuracy, tuple(rows),
        chance_of_spread(table_of(runs, "final")), chance_of_spread(table_of(runs, "area")),
    )  # fmt: skip


def row_of(name: str, runs: Mapping[str, Mapping[int, Trial]]) -> Row:
    """One estimator, against the reference."""
    mine, reference = runs[name], runs[REFERENCE]
    trials = [mine[seed] for seed in sorted(mine)]
    last = [trial.final for trial in trials]
    over = over_all = area_over = None
    if name != REFERENCE:
        over = paired(mine, reference, difference)
        area_over = paired(mine, reference, lambda one, other: one.area - other.area)
        gaps = [difference(mine[seed], reference[seed]) for seed in sorted(mine.keys() & reference.keys())]
        level = 1 - (1 - CERTAINTY) / max(1, len(runs) - 1)
        over_all = mean_interval(gaps, level) if gaps else None
    return Row(
        name, tuple(sorted(mine)), mean_interval(last), mean_interval([trial.area for trial in trials]),
        mean_interval([trial.greedy for trial in trials]), min(last), over, over_all, area_over,
        sum(trial.points[-1].cpu_seconds for trial in trials) / len(trials),
    )  # fmt: skip


def table_of(runs: Mapping[str, Mapping[int, Trial]], what: str) -> Float[np.ndarray, "estimators seeds"]:
    """The accuracies of the seeds that all estimators have."""
    seeds = sorted(set.intersection(*(set(found) for found in runs.values())))
    return np.array([[getattr(found[seed], what) for seed in seeds] for found in runs.values()], dtype=np.float64)


def chance_of_spread(table: Float[np.ndarray, "estimators seeds"], seed: int = 0) -> float:
    """A permutation test of no difference: how often the variance of the estimators' means is as large as it is when
    each seed's accuracies are dealt out anew. 1 with fewer than two estimators or without a shared seed."""
    if len(table) < 2 or not table.shape[1]:
        return 1.0
    random = np.random.default_rng(seed)
    seen = table.mean(1).var()
    dealt = np.stack([random.permuted(np.tile(column, (PERMUTATIONS, 1)), axis=1) for column in table.T], -1)
    as_wide = (dealt.mean(-1).var(-1) >= seen * (1 - 1e-12)).sum()
    return float((as_wide + 1) / (PERMUTATIONS + 1))
