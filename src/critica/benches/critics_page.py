"""The critics bench's page: verdicts, one table a condition, one a field, and what was fitted on how much."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from critica.benches.critics_verdicts import Row, Verdict

CONDITIONS = {
    "data": "equal data",
    "time": "equal time",
}
HEAD = (
    "critic", "ratio", "MAE", "RMSE", "inside", "explained inside", "rank inside", "rank across", "Brier", "ECE",
    "CRPS", "W1", "CPU s",
)  # fmt: skip
COLUMNS = ("mae", "rmse", "within_mae", "within_explained", "rank_within", "rank_across", "brier", "ece", "crps", "w1")

METHOD = """
**States.** {prompts} prompts a seed that no learned critic was taught (but for {returning:.0%} of them, which were
asked once before, as in a later epoch); {samples} answers each; {answers} of them cut at {positions} places, one in
each equal part of the answer. **Truth.** Token games: every continuation that the policy could write is walked, which
leaves no noise. Elsewhere: the mean outcome of {continuations} fresh continuations (MCS@{continuations}). The truth is
found once for a policy, field and seed, and all critics are held against the same. **Floor**: what a critic that knows
the true values would read, because the truth was measured; from halves of the continuations.

**Equal data.** All critics are given the same {past:,} earlier answers of the frozen policy and the same audited groups
of {samples}. Those with weights learn from the earlier rounds (every seventh part is kept aside, and judges when to
stop); those with memory remember them; those that count see the audited group, their definition permitting.
**Equal time.** Each critic gets {seconds:g} CPU seconds of one thread to value all the audited states, and pays out of
them for whatever it uses: sampling earlier answers, sampling the audited groups if it compares siblings, learning,
predicting. A critic that does not learn gets larger groups (doubled up to {pool}), one that learns stops when the time
is over (it is judged at least once), `mcs@time` continues each audited state as often as the time allows (at most
{references} times; it values nothing but these states, which flatters it). CPU seconds, so that a busy machine does not
distort; states of the policy are read once.

**Columns.** *ratio*: mean absolute error after each prompt's mean has left both value and truth, over the group mean's,
with the 95% interval of {draws} resamples of prompts (paired; all seeds together). A critic that says one value a
prompt reads 1 by construction. A dagger: the critic has seen the outcome of the answer whose states it values (the
published counting critics do), which late in an answer is nearly the truth itself and no merit. A double dagger: the
critic's file has been changed since it was measured. *inside*: that error itself. *explained inside*: share of the
truth's variance inside prompts that is explained, freed from noise. A critic that says a mean alone is read as a coin
by *CRPS* and *W1*, for outcomes are 0 or 1. Other columns as in `critica critic audit`. Means over {seeds} seeds (fewer
where a row says so); in brackets the standard deviation over seeds. *CPU s* are seconds of sampling, learning and
predicting for one seed.
"""


def page(facts: Mapping[str, Any], rows: Sequence[Row], found: Sequence[Verdict], why: Sequence[str]) -> str:
    """The whole page."""
    fields = list(dict.fromkeys(row.field for row in rows))
    parts = [
        "# How good the critics' values are\n",
        f"Made by `{facts['command']}`; every number is in critics.json, the figure in critics.svg."
        f" {facts['machine']['processor']}, one thread; commit {facts['machine']['commit']};"
        f" seeds {', '.join(map(str, facts['seeds']))}.\n",
        *(f"- {verdict.line}" for verdict in found),
        "",
        "![Error inside prompts over the group mean's](critics.svg)\n",
        "## What was done",
        METHOD.format(**facts["method"]),
    ]
    for condition, words in CONDITIONS.items():
        parts += [f"## Ratio to the group mean, inside prompts, {words}\n", overview(rows, fields, condition)]
    if why:
        parts += ["## Why: more data, other features\n", *why, ""]
    for field in fields:
        for condition, words in CONDITIONS.items():
            mine = [row for row in rows if row.field == field and row.condition == condition]
            parts += [f"## {field}, {words}\n", table(mine)]
    if facts["missing"]:
        parts += ["## Not measured\n", *(f"- {line}" for line in facts["missing"]), ""]
    return "\n".join(parts)


def overview(rows: Sequence[Row], fields: Sequence[str], condition: str) -> str:
    """One line a critic: its ratio on each field, and the mean; best first."""
    by: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.condition == condition:
            by.setdefault(row.spec, {})[row.field] = row
    mean = {
        spec: math.fsum(row.ratio for row in found.values()) / len(found) if len(found) == len(fields) else math.inf
        for spec, found in by.items()
    }
    lines = [f"| critic | mean | {' | '.join(fields)} |", "|---" * (len(fields) + 2) + "|"]
    for spec in sorted(by, key=lambda spec: (mean[spec], spec)):
        cells = [ratio_of(by[spec].get(field)) for field in fields]
        lines.append(
            f"| `{spec}`{mark(next(iter(by[spec].values())))} | {number(mean[spec], 2)} | {' | '.join(cells)} |"
        )
    anyone = {row.field: row for row in rows if row.condition == condition}
    floor = [number(anyone[field].floor, 2) if field in anyone else "" for field in fields]
    return "\n".join([*lines, f"| *floor* | | {' | '.join(floor)} |", "", *unfinished(list(anyone), rows, condition)])


def unfinished(fields: Sequence[str], rows: Sequence[Row], condition: str) -> list[str]:
    """A line that says how many rows of which field were measured at fewer seeds than others."""
    most, short = max((row.seeds for row in rows), default=0), []
    for field in fields:
        seeds = [row.seeds for row in rows if row.field == field and row.condition == condition]
        if min(seeds) < most:
            short.append(f"{field} {sum(count < most for count in seeds)} of {len(seeds)} (fewest {min(seeds)})")
    return [f"Rows with fewer than {most} seeds: {', '.join(short)}.\n"] if short else []


def mark(row: Row) -> str:
    """A dagger at a critic that has seen the outcome of the answer which it values; a double one at older code."""
    return " †" * row.own + " ‡" * row.older


def ratio_of(row: Row | None) -> str:
    """A ratio with its interval."""
    if row is None:
        return ""
    return f"{number(row.ratio, 2)} [{number(row.low, 2)}, {number(row.high, 2)}]"


def table(rows: Sequence[Row]) -> str:
    """All columns of one field."""
    if not rows:
        return "Nothing was measured.\n"
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    most = max(row.seeds for row in rows)
    for row in sorted(rows, key=lambda row: (row.ratio, row.spec)):
        size = f", group of {row.samples:.0f}" if row.condition == "time" and row.samples else ""
        note = f"{mark(row)} ({100 * row.silent:.0f}% silent)" if row.silent else mark(row)
        note += f" ({row.seeds} of {most} seeds)" if row.seeds < most else ""
        cells = [number(row.readings[name], 3 if "rank" not in name else 2) for name in COLUMNS]
        cells[0] += f" ({number(row.readings.get('mae_spread', math.nan), 3)})"
        lines.append(f"| `{row.spec}`{size}{note} | {ratio_of(row)} | {' | '.join(cells)} | {row.seconds:.1f} |")
    floor = [number(rows[0].floors.get(name, math.nan), 3) for name in COLUMNS]
    return "\n".join([*lines, f"| *floor* | {number(rows[0].floor, 2)} | {' | '.join(floor)} | |", ""])


def number(value: float, digits: int) -> str:
    """As text; nothing for what is no number."""
    return f"{value:.{digits}f}" if math.isfinite(value) else ""
