"""Runs side by side: differences in pairs by prompt, and across seeds in pairs by nothing but the recipe."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from critica.evaluation.intervals import difference, named
from critica.functional.statistics import mean_interval
from critica.records.outcome import Difference, Interval, NamedReport, RunResult

CURVES = ("reward/told", "reward/clean", "accuracy/sampled", "policy/entropy", "critic/explained_variance_clean")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One evaluation of one run."""

    run: str
    recipe: str
    seed: int
    noise: str
    evaluation: str
    how: str
    prompts: int
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class SeedRow:
    """The same recipe, noise and evaluation over several seeds: the mean and its interval over runs."""

    recipe: str
    noise: str
    evaluation: str
    how: str
    seeds: tuple[int, ...]
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class SeedCurve:
    """One metric of the same recipe and noise over several seeds: its mean over the last tenth of each run's steps."""

    recipe: str
    noise: str
    metric: str
    seeds: tuple[int, ...]
    last: Interval


@dataclass(frozen=True, slots=True)
class CurveRow:
    """One metric of one run: its mean over the first and the last tenth of the steps."""

    run: str
    metric: str
    steps: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """Every evaluation, differences, means over seeds, curves. `notes` say what could not be paired."""

    rows: tuple[RunRow, ...]
    differences: tuple[Difference, ...]
    seeds: tuple[SeedRow, ...]
    curves: tuple[CurveRow, ...]
    notes: tuple[str, ...]
    seed_curves: tuple[SeedCurve, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON content: NaN and infinity become null."""
        return _plain(asdict(self))


def compare(runs: Sequence[RunResult], seed: int = 0, metrics: Sequence[str] = CURVES) -> ComparisonReport:
    """Compare each later run with the first, and each run's last evaluation with its first.

    A difference is `later - first` in accuracy over the prompts that both scored, decoded the same way, bootstrapped
    in pairs. Runs that share no prompt are named in `notes`, not silently left out. Raises ValueError without runs.
    """
    if not runs:
        raise ValueError("compare needs at least one run folder")
    names = unique_names(runs)
    differences, notes = [], []
    for index, (name, run) in enumerate(zip(names, runs, strict=True)):
        differences += _within(name, run, seed)
        if not run.evaluations:
            notes.append(f"{name} has no evaluation: run `critica evaluate {run.name}`")
        elif index:
            found, problems = _between(names[0], runs[0], name, run, seed)
            differences += found
            notes += problems
    rows = tuple(
        RunRow(
            name, run.recipe, run.seed, run.noise, item.name, item.report.how, len(item.report.prompts),
            item.report.accuracy,
        )
        for name, run in zip(names, runs, strict=True)
        for item in run.evaluations
    )  # fmt: skip
    curves = tuple(row for name, run in zip(names, runs, strict=True) for row in _curves(name, run, metrics))
    return ComparisonReport(
        rows, tuple(differences), over_seeds(rows), curves, tuple(notes), curves_over_seeds(runs, metrics)
    )


def unique_names(runs: Sequence[RunResult]) -> tuple[str, ...]:
    """The folders' names; equal ones get their place appended."""
    names = [run.name for run in runs]
    return tuple(n if names.count(n) == 1 else f"{n}#{i + 1}" for i, n in enumerate(names))


def over_seeds(rows: Sequence[RunRow]) -> tuple[SeedRow, ...]:
    """Rows of the same recipe, noise, evaluation and decoding with at least two seeds: Student's t over runs."""
    grouped: dict[tuple[str, str, str, str], list[RunRow]] = {}
    for row in rows:
        grouped.setdefault((row.recipe, row.noise, row.evaluation, row.how), []).append(row)
    found = []
    for key, members in grouped.items():
        if len({row.seed for row in members}) > 1:
            interval = mean_interval([row.accuracy.estimate for row in members])
            seeds = tuple(row.seed for row in members)
            found.append(SeedRow(*key, seeds, named(interval, f"Student's t over {len(members)} runs")))
    return tuple(found)


def curves_over_seeds(runs: Sequence[RunResult], metrics: Sequence[str] = CURVES) -> tuple[SeedCurve, ...]:
    """Runs of the same recipe and noise with at least two seeds: Student's t over their last tenths."""
    grouped: dict[tuple[str, str], list[RunResult]] = {}
    for run in runs:
        grouped.setdefault((run.recipe, run.noise), []).append(run)
    found = []
    for (recipe, noise), members in grouped.items():
        seeds = tuple(run.seed for run in members)
        rows = [row for run in members for row in _curves(run.name, run, metrics)]
        for metric in metrics:
            ends = [row.last for row in rows if row.metric == metric]
            if len(set(seeds)) > 1 and len(ends) == len(members):
                interval = named(mean_interval(ends), f"Student's t over {len(ends)} runs")
                found.append(SeedCurve(recipe, noise, metric, seeds, interval))
    return tuple(found)


def _within(name: str, run: RunResult, seed: int) -> list[Difference]:
    """Last minus first policy of one run, for each way of decoding."""
    found = []
    for how in dict.fromkeys(item.report.how for item in run.evaluations):
        same = sorted(
            (item for item in run.evaluations if item.report.how == how), key=lambda item: item.report.policy_version
        )
        first, last = same[0], same[-1]
        if first.report.policy_version != last.report.policy_version:
            labels = (f"{name}:{first.name}", f"{name}:{last.name}")
            found.append(difference(first.report, last.report, labels, seed))
    return found


def _between(
    first_name: str, first: RunResult, name: str, run: RunResult, seed: int
) -> tuple[list[Difference], list[str]]:
    """This run minus the first one, for evaluations of the same name; what cannot be paired is said."""
    own = {item.name: item for item in run.evaluations}
    found, notes = [], []
    for item in first.evaluations:
        other = own.get(item.name)
        problem = "is missing" if other is None else _unpaired(item, other)
        if other is None or problem:
            notes.append(f"evaluation {item.name} of {name} {problem}: it cannot be paired with {first_name}")
            continue
        labels = (f"{first_name}:{item.name}", f"{name}:{item.name}")
        found.append(difference(item.report, other.report, labels, seed))
    return found, notes


def _unpaired(first: NamedReport, other: NamedReport) -> str:
    """Why two evaluations cannot be paired; empty if they can."""
    if first.report.environment != other.report.environment:
        return f"is on {other.report.environment}, not on {first.report.environment}"
    if first.report.how != other.report.how:
        return f"is {other.report.how}, not {first.report.how}"
    scored = {prompt.task_id for prompt in first.report.prompts if prompt.samples}
    shared = scored & {prompt.task_id for prompt in other.report.prompts if prompt.samples}
    return "" if shared else "shares no scored prompt"


def _curves(name: str, run: RunResult, metrics: Sequence[str]) -> list[CurveRow]:
    by_name = {curve.metric: curve for curve in run.curves}
    rows = []
    for metric in metrics:
        if metric in by_name:
            values = by_name[metric].values
            tenth = max(1, len(values) // 10)
            rows.append(CurveRow(name, metric, len(values), _mean(values[:tenth]), _mean(values[-tenth:])))
    return rows


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
