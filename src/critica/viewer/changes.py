"""What changed between runs, in numbers: metrics of the last steps, task sources, prompts."""

import math
from collections.abc import Sequence

from critica.records.metrics import definition
from critica.records.outcome import NamedReport, OutcomeReport
from critica.store.run_folder import StepMetrics
from critica.viewer.curves import Chart
from critica.viewer.page import Table, number, percent
from critica.viewer.window import ends, mean_of

PROMPTS_SHOWN = 20
NAMED = 4  # settings that a sentence names

Lines = Sequence[Sequence[StepMetrics]]
Reports = Sequence[Sequence[NamedReport]]


def change_sentence(names: Sequence[str], lines: Lines, reports: Reports, settings: Sequence[str]) -> str:
    """How many settings differ, and what came of it in clean reward and held-out accuracy."""
    told = ", ".join(settings[:NAMED]) + (f" and {len(settings) - NAMED} more" if len(settings) > NAMED else "")
    said = [f"Settings that differ: {told}" if settings else "No setting differs"]
    clean = [mean_of(ends(one)[1], "reward/clean") for one in lines]
    if not any(map(math.isnan, clean)):
        said.append("clean reward at the end: " + _each(names, [number(value) for value in clean]))
    for how, last in _last_by_way(reports):
        said.append(f"held-out accuracy {how}: " + _each(names, [percent(one.accuracy.estimate) for one in last]))
    return "; ".join(said) + "."


def metrics_table(names: Sequence[str], lines: Lines, charts: Sequence[Chart]) -> Table:
    """Every drawn metric at the end of each run, and by how much the others differ from the first."""
    rows = []
    for name in dict.fromkeys(metric for chart in charts for metric, _ in chart.series):
        values = [mean_of(ends(one)[1], name) for one in lines]
        if all(map(math.isnan, values)):
            continue
        differences = [number(value - values[0], "+.4g") for value in values[1:]]
        rows.append((name, *(number(value, ".4g") for value in values), *differences, definition(name).unit))
    minus = [f"{name} − {names[0]}" for name in names[1:]]
    says = "Means over the last steps (ten, or half of a shorter run). One run each: a difference may be chance."
    return Table("The end in numbers", says, ("metric", *names, *minus, "unit"), tuple(rows), 1)


def sources_table(names: Sequence[str], reports: Reports) -> Table:
    """Held-out accuracy by task source in each run's last evaluation, for each way of decoding that all have."""
    rows = []
    for how, last in _last_by_way(reports):
        found = [_by_source(one) for one in last]
        for source in sorted(set.intersection(*(set(one) for one in found))):
            shares = [math.fsum(one[source]) / len(one[source]) for one in found]
            differences = [f"{100 * (share - shares[0]):+.1f}" for share in shares[1:]]
            rows.append((source, how, str(len(found[0][source])), *map(percent, shares), *differences))
    head = ("task source", "decoding", "prompts", *names, *(f"{name} − {names[0]}" for name in names[1:]))
    return Table("Which tasks differ", "By task source, in each run's last evaluation.", head, tuple(rows), 2)


def prompts_table(names: Sequence[str], reports: Reports) -> Table:
    """Held-out prompts whose share of right answers differs most between the first run and any other."""
    rows: list[tuple[float, tuple[str, ...]]] = []
    for how, last in _last_by_way(reports):
        shares = [{prompt.task_id: prompt.share for prompt in one.prompts} for one in last]
        for prompt in last[0].prompts:
            found = [one.get(prompt.task_id, math.nan) for one in shares]
            gap = max((abs(value - found[0]) for value in found[1:] if not math.isnan(value - found[0])), default=0.0)
            if gap > 0:
                words = prompt.prompt or prompt.task_id
                rows.append((gap, (words, prompt.source, how, *(number(value, ".2g") for value in found))))
    rows.sort(key=lambda row: -row[0])
    says = f"{len(rows)} held-out prompts came out differently; {min(len(rows), PROMPTS_SHOWN)} of them, largest first."
    head = ("prompt", "source", "decoding", *names)
    return Table("Which prompts differ", says, head, tuple(row for _, row in rows[:PROMPTS_SHOWN]), 3)


def _by_source(report: OutcomeReport) -> dict[str, list[float]]:
    """Shares of right answers of the prompts of each task source that could be scored."""
    found: dict[str, list[float]] = {}
    for prompt in report.prompts:
        if not math.isnan(prompt.share):
            found.setdefault(prompt.source, []).append(prompt.share)
    return found


def _last_by_way(reports: Reports) -> list[tuple[str, list[OutcomeReport]]]:
    """For each way of decoding and environment that every run evaluated: each run's report of its latest policy."""
    ways = [{(item.report.environment, item.report.how) for item in one} for one in reports]
    found = []
    for environment, how in sorted(set.intersection(*ways), reverse=True) if ways else ():
        last = [
            max((item.report for item in one if (item.report.environment, item.report.how) == (environment, how)),
                key=lambda report: report.policy_version)
            for one in reports
        ]  # fmt: skip
        found.append((how, last))
    return found


def _each(names: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
