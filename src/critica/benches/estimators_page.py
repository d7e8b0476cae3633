"""The page and the pictures of the bench of group estimators."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from critica.benches.estimators_verdict import REFERENCE, Round, Row
from critica.benches.interval_text import level
from critica.benches.noise_arms import updated_name
from critica.benches.noise_trial import Trial
from critica.benches.payback_figure import BLUE, GRAY, GRID, INK, text
from critica.benches.payback_page import gain
from critica.benches.payback_verdict import points

if TYPE_CHECKING:
    from critica.benches.estimators import EstimatorsSettings

WIDTH, HEIGHT, GAP, LEFT, TOP, ROW = 150.0, 130.0, 14.0, 52.0, 66.0, 40.0
COLUMNS = 5


def figure_of(one: Round) -> str:
    """The name of its picture."""
    return f"estimators_{one.updates}.svg"


def estimators_page(
    machine: Mapping[str, Any], settings: "EstimatorsSettings", seeds: int, rounds: Sequence[Round]
) -> str:
    """The whole page."""
    lengths = settings.lengths
    return "\n".join([
        "# Group estimators on equal samples\n",
        f"Made by `critica bench estimators --seeds {seeds}`; every number is in estimators.json.\n",
        f"{machine['processor']}, one thread a run; torch {machine['versions']['torch']}; commit"
        f" {machine['commit']}.\n",
        f"pico on the task mix `{settings.mix}`, clean rewards, {lengths.prompts_per_step} prompts of"
        f" {lengths.samples_per_prompt} samples a step until {lengths.samples:,} samples are drawn (samples of groups"
        " that a recipe turns away count; ReMax's greedy answers do not). Each recipe keeps its own baseline, scale,"
        " surrogate, level, reduction, penalties and admission; sizes, optimizer and learning rate are shared, and so"
        " is the number of updates into which a step's answers are cut. Accuracy: exact match at temperature 1, in"
        f" points, on the same {lengths.held_out} held-out prompts; mean over seeds with Student's 95% interval,"
        f" differences from `{REFERENCE}` paired by seed.\n",
        *(part for one in rounds for part in round_parts(one)),
        "## What this does not say\n",
        "One model of a million parameters, one mix, one learning rate: Adam takes out an estimator's overall scale,"
        " but no estimator was tuned, and a rate that suits one need not suit another. Rewards are right or wrong and"
        " each prompt is solved often enough that few groups teach nothing; estimators that weigh rare successes"
        " (MaxRL, PKPO, RL2ML) are made for the opposite. PKPO aims at pass@k, which is not what is measured here."
        " What each estimator does to a prompt in expectation: `critica recipes weight`, docs/estimators.md.\n",
    ])  # fmt: skip


def round_parts(one: Round) -> list[str]:
    """One count of updates: verdict, picture, table."""
    counts = sorted({len(row.seeds) for row in one.rows})
    updates = "One update" if one.updates == 1 else f"{one.updates} updates"
    return [
        f"## {updates} a step\n",
        f"Learning rate {one.learning_rate:g}; {' to '.join(map(str, sorted({counts[0], counts[-1]})))} seeds; all runs"
        f" start at {100 * one.start:.1f} points.\n",
        *(f"- {line}" for line in verdict_lines(one)),
        "",
        f"![accuracy over samples]({figure_of(one)})\n",
        table(one.rows),
    ]


def verdict_lines(one: Round) -> list[str]:
    """What lies beyond the intervals, and what does not."""
    compared = [row for row in one.rows if row.over is not None]
    above = [row for row in compared if row.over is not None and row.over.low > 0]
    below = [row for row in compared if row.over is not None and row.over.high < 0]
    sure = [row for row in compared if row.over_all and (row.over_all.low > 0 or row.over_all.high < 0)]
    early = [row for row in compared if row.area_over and (row.area_over.low > 0 or row.area_over.high < 0)]
    return [
        "Do they differ at all? If it made no difference which one ran, a spread of final means as wide as this would"
        f" come up with chance {one.differ:.2g}, of areas under the curve with chance {one.differ_area:.2g}.",
        f"Against `{REFERENCE}` at the end, each alone: better beyond the interval:"
        f" {', '.join(named(row, row.over) for row in above) or 'none'}; worse:"
        f" {', '.join(named(row, row.over) for row in below) or 'none'}; undecided:"
        f" {len(compared) - len(above) - len(below)} of {len(compared)} (one in twenty excludes 0 by chance).",
        f"With Bonferroni's correction for {len(compared)} comparisons, still beyond it:"
        f" {', '.join(named(row, row.over_all) for row in sure) or 'none'}.",
        f"Over the whole run (area), each alone, beyond the interval:"
        f" {', '.join(named(row, row.area_over) for row in early) or 'none'}.",
    ]


def named(row: Row, interval: Any) -> str:
    """An estimator and its difference."""
    return f"{row.name} {points(interval)}"


def table(rows: Sequence[Row]) -> str:
    """Estimators, the best first."""
    lines = [
        f"| estimator | final | over {REFERENCE} | area | area over {REFERENCE} | worst seed | greedy | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row.name}` | {level(row.final)} | {gain(row.over)} | {level(row.area)} | {gain(row.area_over)}"
        f" | {100 * row.worst:.1f} | {level(row.greedy)} | {row.cpu_seconds:.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def estimators_figure(one: Round, trials: Sequence[Trial]) -> str:
    """An SVG with a panel for each estimator: its mean over seeds in blue, single seeds thin, the reference in gray."""
    names = [row.name for row in one.rows if row.name != REFERENCE]
    here = {row.name: [t for t in trials if t.arm == updated_name(row.name, one.updates)] for row in one.rows}
    values = [point.accuracy for found in here.values() for trial in found for point in trial.points]
    scale = math.floor(10 * min(values)) / 10, min(1.0, math.ceil(10 * max(values)) / 10)
    most = max(trial.points[-1].samples for found in here.values() for trial in found)
    rows = math.ceil(len(names) / COLUMNS)
    width = LEFT + min(COLUMNS, max(1, len(names))) * (WIDTH + GAP) + 10
    height = TOP + rows * (HEIGHT + ROW) + 10
    said = [
        text(LEFT, 22.0, "Held-out accuracy at temperature 1 over samples drawn (points)", 15, INK, weight="bold"),
        text(
            LEFT, 40.0, f"{one.updates} update{'s' if one.updates > 1 else ''} a step; blue: mean over seeds (thin:"
            f" each), gray: {REFERENCE}; whisker: 95% at the end", 11, INK,
        ),
    ]  # fmt: skip
    by_name = {row.name: row for row in one.rows}
    for i, name in enumerate(names):
        left, top = LEFT + i % COLUMNS * (WIDTH + GAP), TOP + i // COLUMNS * (HEIGHT + ROW)
        said += frame(name, left, top, scale, most, first=i % COLUMNS == 0)
        said += curves(here[REFERENCE], by_name[REFERENCE], GRAY, left, top, scale, most, single=False)
        said += curves(here[name], by_name[name], BLUE, left, top, scale, most, single=True)
    inner = "\n".join(said)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' height="{height:.0f}" font-family="Helvetica, Arial, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{inner}\n</svg>\n'
    )


def frame(name: str, left: float, top: float, scale: tuple[float, float], most: int, first: bool) -> list[str]:
    """A panel's name, lines and numbers."""
    low, high = scale
    said = [text(left + WIDTH / 2, top - 6, name, 12, INK, anchor="middle", weight="bold")]
    for mark in range(round(10 * low), round(10 * high) + 1):
        y = height_of(mark / 10, top, scale)
        said.append(f'<path d="M{left:.1f} {y:.1f}h{WIDTH:.1f}" stroke="{GRID}"/>')
        if first:
            said.append(text(left - 6, y + 4, str(10 * mark), 11, INK, anchor="end"))
    return [
        *said,
        text(left, top + HEIGHT + 15, "0", 11, INK),
        text(left + WIDTH, top + HEIGHT + 15, f"{most:,}", 11, INK, anchor="end"),
    ]


def height_of(value: float, top: float, scale: tuple[float, float]) -> float:
    """Where an accuracy stands in a panel."""
    low, high = scale
    return top + HEIGHT * (high - min(max(value, low), high)) / max(high - low, 0.1)


def curves(
    trials: Sequence[Trial],
    row: Row,
    color: str,
    left: float,
    top: float,
    scale: tuple[float, float],
    most: int,
    single: bool,
) -> list[str]:
    """The mean over seeds with its whisker, and with `single` each seed."""

    def drawn(places: Sequence[tuple[float, float]], stroke: str) -> str:
        joined = " ".join(f"{left + WIDTH * x / most:.1f},{height_of(y, top, scale):.1f}" for x, y in places)
        return f'<polyline points="{joined}" fill="none" stroke="{color}" {stroke}/>'

    said = []
    if single:
        thin = 'stroke-width="0.6" stroke-opacity="0.45"'
        alone = ([(float(point.samples), point.accuracy) for point in trial.points] for trial in trials)
        said += [drawn(places, thin) for places in alone]
    shared = min(len(trial.points) for trial in trials)
    count = len(trials)
    means = [
        (sum(t.points[k].samples for t in trials) / count, sum(t.points[k].accuracy for t in trials) / count)
        for k in range(shared)
    ]
    said.append(drawn(means, 'stroke-width="1.8"'))
    if single and math.isfinite(row.final.low):
        x = left + WIDTH * means[-1][0] / most
        ends = f"M{x:.1f} {height_of(row.final.low, top, scale):.1f}V{height_of(row.final.high, top, scale):.1f}"
        said.append(f'<path d="{ends}" stroke="{color}" stroke-width="1.4"/>')
    return said
