"""Why a critic is poor: how its error falls with the number of answers that it was taught by."""

from collections.abc import Sequence

from critica.benches.critics_entries import Entry
from critica.benches.critics_probe import PROBE
from critica.benches.critics_rows import Heard
from critica.benches.critics_verdicts import Row


def why_lines(heard: Sequence[Heard], curves: Sequence[Entry], rows: Sequence[Row]) -> list[str]:
    """The yardstick of what the policy's states hold, then the curves."""
    read = [row for row in rows if row.spec == PROBE]
    if not read:
        return curve_lines(heard, curves, rows)
    told = "; ".join(f"{row.field} {row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in read)
    return [
        "A ridge regression on the policy's last hidden state, told the *true values* of other prompts' states"
        f" (no critic has this teacher), reads these ratios: {told}.\n",
        *curve_lines(heard, curves, rows),
    ]


def curve_lines(heard: Sequence[Heard], curves: Sequence[Entry], rows: Sequence[Row]) -> list[str]:
    """One table for each critic and field of the curve."""
    by = {(row.spec, row.field): row for row in rows if row.condition == "data"}
    base = {entry.spec: entry.spec.rpartition("past=")[0].rstrip(",:") for entry in curves}
    lines = []
    for spec in dict.fromkeys(base.values()):
        for field in dict.fromkeys(item.field for item in heard):
            mine = [name for name, root in base.items() if root == spec and (name, field) in by]
            found = sorted((by[name, field] for name in [*mine, spec] if (name, field) in by), key=lambda r: r.answers)
            if not mine:
                continue
            lines += [
                f"`{spec}` on {field} (floor of the ratio {found[0].floor:.2f}):\n",
                "| answers | ratio | explained inside | rank inside | error on what it learned | held out | updates |",
                "|---" * 7 + "|",
                *(curve_row(row, heard) for row in found),
                "",
            ]
    return lines


def curve_row(row: Row, heard: Sequence[Heard]) -> str:
    """A point of the curve: errors per token at the moment that was kept, means over seeds."""
    courses = [
        item.said[row.spec, "data"].course
        for item in heard
        if item.field == row.field and (row.spec, "data") in item.said
    ]
    best = [min(course, key=lambda moment: moment.held_out_error) for course in courses if course]
    count = max(1, len(best))
    learned, aside = (sum(getattr(m, name) for m in best) / count for name in ("learned_error", "held_out_error"))
    updates = sum(moment.updates for moment in best) / count
    inside = [f"{row.readings[name]:.2f}" for name in ("within_explained", "rank_within")]
    cells = [f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]", *inside, f"{learned:.4f}", f"{aside:.4f}"]
    return f"| {row.answers:.0f} | {' | '.join(cells)} | {updates:.0f} |"
