"""Is the policy drifting or collapsing: each sign at the run's two ends, and whether it crossed a stated line."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from critica.records.metrics import definition
from critica.records.outcome import Difference, NamedReport
from critica.store.run_folder import StepMetrics
from critica.viewer.window import Row, ends, mean_of

Pair = Callable[[str], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign: where it began and ended, the line that it should not cross, whether it did, and what it means."""

    name: str
    unit: str
    first: float
    last: float
    line: str
    crossed: bool
    about: str


def signs_of(lines: Sequence[StepMetrics], first_rows: Iterable[Row], last_rows: Iterable[Row]) -> tuple[Sign, ...]:
    """Means over the run's two ends. The lines are rules of thumb, not verdicts; each is shown."""
    begin, end = ends(lines)

    def pair(name: str) -> tuple[float, float]:
        return mean_of(begin, name), mean_of(end, name)

    found = [
        _sign("accuracy/sampled", pair, "below 80% of the first", lambda a, b: b < 0.8 * a),
        _sign("policy/entropy", pair, "below 20% of the first", lambda a, b: b < 0.2 * a),
        _different(distinct_share(first_rows), distinct_share(last_rows)),
        _sign("policy/kl_reference", pair, "above 1", lambda a, b: b > 1),
        _sign("length/mean", pair, "above twice or below half of the first", lambda a, b: b > 2 * a or b < 0.5 * a),
        _sign("length/limit_share", pair, "above 0.2 and above the first", lambda a, b: b > max(0.2, a)),
        _sign("policy/clip_fraction", pair, "above 0.3", lambda a, b: b > 0.3),
        _sign("mismatch/mean_abs_logratio", pair, "above 0.1", lambda a, b: b > 0.1),
        _sign("step/skipped", pair, "above 0", lambda a, b: b > 0),
    ]
    return tuple(sign for sign in found if not math.isnan(sign.last))


def held_out_signs(gains: Sequence[Difference], reports: Sequence[NamedReport]) -> tuple[Sign, ...]:
    """Held-out accuracy before and after, where it was measured twice: crossed where the loss is beyond chance."""
    accuracy = {item.name: item.report.accuracy.estimate for item in reports}
    about = "Right answers to held-out prompts by the first and the last policy that were measured, in pairs."
    return tuple(
        Sign(f"held-out accuracy {gain.how}", "share", accuracy[gain.before], accuracy[gain.after],
             "the change’s 95% interval is below 0", gain.interval.high < 0, about)
        for gain in gains
    )  # fmt: skip


def distinct_share(rows: Iterable[Row]) -> float:
    """Different texts over answers, among the answers to one prompt, mean over prompts with at least two."""
    groups: dict[tuple[int, str], list[str]] = {}
    for row in rows:
        groups.setdefault((row.step, row.group_id), []).append(row.text)
    shares = [(len(set(texts)) - 1) / (len(texts) - 1) for texts in groups.values() if len(texts) > 1]
    return math.fsum(shares) / len(shares) if shares else math.nan


def drift_sentence(signs: Sequence[Sign]) -> str:
    """Which lines were crossed; else that none was, with entropy and divergence."""
    crossed = [sign for sign in signs if sign.crossed]
    if not signs:
        return "Nothing was measured yet."
    if crossed:
        said = "; ".join(f"{sign.name} {_show(sign.first)} → {_show(sign.last)}" for sign in crossed)
        return f"{len(crossed)} of {len(signs)} signs crossed their line: {said}."
    shown = [sign for sign in signs if sign.name in ("policy/entropy", "policy/kl_reference", "different answers")]
    said = "; ".join(f"{sign.name} {_show(sign.first)} → {_show(sign.last)}" for sign in shown)
    return f"None of {len(signs)} signs crossed its line: {said}."


def _sign(name: str, pair: Pair, line: str, crossed: Callable[[float, float], bool]) -> Sign:
    first, last = pair(name)
    told = definition(name)
    return Sign(name, told.unit, first, last, line, not math.isnan(last) and crossed(first, last), told.sentence)


def _different(first: float, last: float) -> Sign:
    about = "Answers to one prompt that differ from one another: 1 if all do, 0 if all are the same text."
    return Sign("different answers", "share", first, last, "below 25% of the first", last < 0.25 * first, about)


def _show(value: float) -> str:
    return f"{value:.3g}"
