"""The report's first screen in numbers: who ran, what changed, where every sample went."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from critica.records.metrics import definition
from critica.records.outcome import Difference, NamedReport
from critica.store.run_folder import StepMetrics
from critica.viewer.page import clock, number, percent
from critica.viewer.window import WINDOW, ends, mean_of


@dataclass(frozen=True, slots=True)
class Tile:
    """One large number, its name, and a line below it; `tip` defines it."""

    name: str
    value: str
    below: str
    tip: str


@dataclass(frozen=True, slots=True)
class GlossaryRow:
    """A metric at the run's beginning and end: means over the first and the last steps."""

    name: str
    unit: str
    sentence: str
    first: float
    last: float


def tiles(lines: Sequence[StepMetrics], timing: Sequence[StepMetrics], gains: Sequence[Difference], reports: Sequence[NamedReport]) -> Iterator[Tile]:  # fmt: skip  # noqa: E501
    """Accuracy and its gain if it was evaluated, then the critic, then the work done."""
    by_name = {item.name: item.report for item in reports}
    for gain in gains:
        before, after = by_name[gain.before].accuracy, by_name[gain.after].accuracy
        i = gain.interval
        yield Tile(
            f"held-out accuracy, {gain.how}",
            f"{percent(before.estimate)} → {percent(after.estimate)}",
            f"{100 * i.estimate:+.1f} points, 95% [{100 * i.low:+.1f}, {100 * i.high:+.1f}], {gain.prompts} prompts",
            f"Exact match on held-out prompts, {gain.how}; the difference is paired by prompt ({i.method}).",
        )
    if not gains:
        yield from _change(lines, "accuracy/sampled", "sampled accuracy")
    recent = lines[-WINDOW:]
    told, clean = (mean_of(recent, f"critic/explained_variance{suffix}") for suffix in ("", "_clean"))
    if not math.isnan(told):
        below = f"of the clean outcome: {fixed(clean)}" if not math.isnan(clean) else "of the told outcome"
        yield Tile("explained variance", fixed(told), below, definition("critic/explained_variance").sentence)
    error = mean_of(recent, "critic/ece")
    if not math.isnan(error):
        clean_error = mean_of(recent, "critic/ece_clean")
        below = f"against the clean outcome: {clean_error:.3f}"
        yield Tile("calibration error", f"{error:.3f}", below, definition("critic/ece").sentence)
    yield from _work(lines, timing)


def _change(lines: Sequence[StepMetrics], name: str, title: str) -> Iterator[Tile]:
    begin, end = ends(lines)
    first, last = mean_of(begin, name), mean_of(end, name)
    if not math.isnan(last):
        below = f"first and last {len(end)} steps; no held-out evaluation yet"
        yield Tile(title, f"{percent(first)} → {percent(last)}", below, definition(name).sentence)


def _work(lines: Sequence[StepMetrics], timing: Sequence[StepMetrics]) -> Iterator[Tile]:
    tokens = math.fsum(line.get("tokens/sampled") for line in lines if not math.isnan(line.get("tokens/sampled")))
    seconds = math.fsum(value for line in timing for value in line.values.values())
    speed = f"{tokens / seconds:,.0f} tokens/s over {clock(seconds)}" if seconds else "no clock readings"
    yield Tile(
        "sampled tokens", f"{tokens:,.0f}", speed, "Tokens that the policy wrote; whole steps, everything included."
    )


def stage_seconds(timing: Iterable[StepMetrics]) -> dict[str, float]:
    """Seconds of each stage of the loop over the whole run, in the loop's order; what was measured aside comes last."""
    total: dict[str, float] = {}
    for line in timing:
        for stage, seconds in line.values.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total


def glossary_rows(lines: Sequence[StepMetrics]) -> tuple[GlossaryRow, ...]:
    """Every metric of the run, in the order in which it first appears."""
    begin, end = ends(lines)
    names = dict.fromkeys(name for line in lines for name in line.values)
    return tuple(
        GlossaryRow(
            name,
            definition(name).unit,
            definition(name).sentence,
            mean_of(begin, name),
            mean_of(end, name),
        )
        for name in names
    )


def fixed(value: float) -> str:
    """Two decimals, without a minus sign before zero."""
    return number(value, ".2f")
