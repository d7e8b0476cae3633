"""The report's first screen in numbers: who ran, what changed, where every sample went."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from critica.records.metrics import definition
from critica.records.outcome import Difference, NamedReport
from critica.records.run import LEDGER_STATES
from critica.store.audit import short_reason
from critica.store.run_folder import RunFolder, StepMetrics

RECENT = 10


@dataclass(frozen=True, slots=True)
class Tile:
    """One large number, its name, and a line below it; `tip` defines it."""

    name: str
    value: str
    below: str
    tip: str


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """How many samples and prompts ended in one state for one reason."""

    state: str
    reason: str
    samples: int
    prompts: int


@dataclass(frozen=True, slots=True)
class GlossaryRow:
    """A metric at the run's beginning and end: means over the first and the last steps."""

    name: str
    unit: str
    sentence: str
    first: float
    last: float


def tiles(run: RunFolder, lines: Sequence[StepMetrics], gains: Sequence[Difference], reports: Sequence[NamedReport]) -> Iterator[Tile]:  # fmt: skip  # noqa: E501
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
    recent = lines[-RECENT:]
    told, clean = (_mean(recent, f"critic/explained_variance{suffix}") for suffix in ("", "_clean"))
    if not math.isnan(told):
        below = f"of the clean outcome: {fixed(clean)}" if not math.isnan(clean) else "of the told outcome"
        yield Tile("explained variance", fixed(told), below, definition("critic/explained_variance").sentence)
    error = _mean(recent, "critic/ece")
    if not math.isnan(error):
        clean_error = _mean(recent, "critic/ece_clean")
        below = f"against the clean outcome: {clean_error:.3f}"
        yield Tile("calibration error", f"{error:.3f}", below, definition("critic/ece").sentence)
    yield from _work(run, lines)


def _change(lines: Sequence[StepMetrics], name: str, title: str) -> Iterator[Tile]:
    first, last = _mean(lines[:RECENT], name), _mean(lines[-RECENT:], name)
    if not math.isnan(last):
        below = f"first and last {min(RECENT, len(lines))} steps; no held-out evaluation yet"
        yield Tile(title, f"{percent(first)} → {percent(last)}", below, definition(name).sentence)


def _work(run: RunFolder, lines: Sequence[StepMetrics]) -> Iterator[Tile]:
    tokens = math.fsum(line.get("tokens/sampled") for line in lines if not math.isnan(line.get("tokens/sampled")))
    seconds = math.fsum(value for line in run.timing() for value in line.values.values())
    speed = f"{tokens / seconds:,.0f} tokens/s over {clock(seconds)}" if seconds else "no clock readings"
    yield Tile(
        "sampled tokens", f"{tokens:,.0f}", speed, "Tokens that the policy wrote; whole steps, everything included."
    )


def ledger_rows(run: RunFolder) -> tuple[LedgerRow, ...]:
    """Counts by state and reason, in the ledger's order of states, most samples first."""
    counts = Counter((str(x["state"]), short_reason(str(x["reason"])), str(x["kind"])) for x in run.ledger())
    keys = {(state, reason) for state, reason, _ in counts}
    rows = [LedgerRow(s, r, counts[s, r, "sample"], counts[s, r, "prompt"]) for s, r in keys]
    return tuple(sorted(rows, key=lambda row: (LEDGER_STATES.index(row.state), -row.samples, row.reason)))  # type: ignore[arg-type]


def stage_seconds(run: RunFolder) -> dict[str, float]:
    """Seconds of each stage of the loop over the whole run, in the loop's order; what was measured aside comes last."""
    total: dict[str, float] = {}
    for line in run.timing():
        for stage, seconds in line.values.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total


def glossary_rows(lines: Sequence[StepMetrics]) -> tuple[GlossaryRow, ...]:
    """Every metric of the run, in the order in which it first appears."""
    names = dict.fromkeys(name for line in lines for name in line.values)
    return tuple(
        GlossaryRow(
            name,
            definition(name).unit,
            definition(name).sentence,
            _mean(lines[:RECENT], name),
            _mean(lines[-RECENT:], name),
        )
        for name in names
    )


def percent(share: float) -> str:
    """0.4731 -> '47.3%'."""
    return f"{100 * share:.1f}%"


def fixed(value: float) -> str:
    """Two decimals, without a minus sign before zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def clock(seconds: float) -> str:
    """93 -> '1 min 33 s'."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _mean(lines: Sequence[StepMetrics], name: str) -> float:
    values = [line.get(name) for line in lines if not math.isnan(line.get(name))]
    return math.fsum(values) / len(values) if values else math.nan
