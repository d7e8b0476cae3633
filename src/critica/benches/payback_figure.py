"""The payback bench's picture: one panel for each critic against the group baseline, as samples per prompt fall."""

import math
from collections.abc import Callable, Sequence
from html import escape

from critica.benches.payback_arms import GROUP
from critica.benches.payback_verdict import Cell, Edition
from critica.functional.statistics import Interval

WIDTH, HEIGHT, GAP, LEFT, TOP, BOTTOM = 150.0, 170.0, 14.0, 64.0, 66.0, 62.0
GRAY, INK, BLUE, GRID = "#8a8a8a", "#222222", "#1f6fb4", "#e4e4e4"
ROWS: tuple[tuple[str, Callable[[Cell], Interval], Callable[[Cell], Interval | None]], ...] = (
    ("equal samples", lambda cell: cell.at_samples, lambda cell: cell.over_group_samples),
    ("equal CPU time", lambda cell: cell.at_cost, lambda cell: cell.over_group_cost),
)


def payback_figure(edition: Edition) -> str:
    """An SVG of two rows (equal samples, equal CPU time) and a column for each critic; the baseline in gray in all.

    Whiskers are 95% intervals over seeds. A filled dot differs from the baseline beyond the interval paired by seed.
    """
    critics = [arm for arm in edition.arms if arm != GROUP]
    width = LEFT + len(critics) * (WIDTH + GAP) + 10
    height = TOP + 2 * (HEIGHT + GAP + 26) + BOTTOM - 26
    noise = "clean rewards" if edition.noise == "none" else f"rewards with noise {edition.noise}"
    said = [
        text(LEFT, 22.0, f"Held-out accuracy at temperature 1, {noise} (points)", 15, INK, weight="bold"),
        text(
            LEFT, 42.0, "gray: group baseline; blue: the critic, filled where it differs from the baseline at that n"
            " beyond the paired 95% interval; whiskers: 95% over seeds", 11, INK,
        ),
    ]  # fmt: skip
    for row, (name, level, gain) in enumerate(ROWS):
        top = TOP + row * (HEIGHT + GAP + 26)
        amount = f"{edition.samples:,} samples" if row == 0 else f"{edition.budget_seconds:.1f} CPU s"
        middle, scale = top + HEIGHT / 2, bounds([level(cell) for cell in edition.cells])
        said.append(text(16.0, middle, f"{name}: {amount}", 12, INK, anchor="middle", turn=-90))
        for column, arm in enumerate(critics):
            left = LEFT + column * (WIDTH + GAP)
            said += panel(edition, arm, left, top, scale, level, gain, first=column == 0)
            said.append(text(left + WIDTH / 2, top - 7, arm, 12, BLUE, anchor="middle", weight="bold"))
    bottom = TOP + 2 * (HEIGHT + GAP + 26) + 8
    said.append(text(LEFT, bottom, "samples per prompt n; prompts per step grow as n falls", 11, INK))
    inner = "\n".join(said)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' height="{height:.0f}" font-family="Helvetica, Arial, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{inner}\n</svg>\n'
    )


def bounds(levels: Sequence[Interval]) -> tuple[float, float]:
    """A row's scale: multiples of 5 points around all dots, whiskers included up to 10 points beyond them."""
    lowest, highest = min(one.estimate for one in levels), max(one.estimate for one in levels)
    low = min(max(one.low, lowest - 0.1) for one in levels if math.isfinite(one.low) or one.estimate == lowest)
    high = max(min(one.high, highest + 0.1) for one in levels if math.isfinite(one.high) or one.estimate == highest)
    return math.floor(20 * low) / 20, min(1.0, math.ceil(20 * high) / 20)


def panel(
    edition: Edition,
    arm: str,
    left: float,
    top: float,
    scale: tuple[float, float],
    level: Callable[[Cell], Interval],
    gain: Callable[[Cell], Interval | None],
    first: bool,
) -> list[str]:
    """One critic's panel; the first of its row says which heights are which and what is gray."""
    low, high = scale
    counts = edition.counts

    def y(value: float) -> float:
        return top + HEIGHT * (high - min(max(value, low), high)) / (high - low)

    def x(count: int) -> float:
        return left + WIDTH * (counts.index(count) + 0.5) / len(counts)

    said = []
    for mark in range(round(20 * low), round(20 * high) + 1):
        said.append(f'<path d="M{left:.1f} {y(mark / 20):.1f}h{WIDTH:.1f}" stroke="{GRID}"/>')
        if first:
            said.append(text(left - 6, y(mark / 20) + 4, str(5 * mark), 11, INK, anchor="end"))
    said += [text(x(count), top + HEIGHT + 15, str(count), 11, INK, anchor="middle") for count in counts]
    for name, color, shift in ((GROUP, GRAY, -2.5), (arm, BLUE, 2.5)):
        cells = [cell for count in counts if (cell := edition.cell(name, count)) is not None]
        places = [(x(cell.samples_per_prompt) + shift, cell) for cell in cells]
        said.append(line([(place, y(level(cell).estimate)) for place, cell in places], color))
        for place, cell in places:
            one, difference = level(cell), gain(cell)
            if math.isfinite(one.low):
                ends = f"M{place:.1f} {y(one.low):.1f}V{y(one.high):.1f}"
                said.append(f'<path d="{ends}" stroke="{color}" stroke-width="1.2"/>')
            sure = difference is not None and (difference.low > 0 or difference.high < 0)
            fill = color if sure or name == GROUP else "white"
            said.append(
                f'<circle cx="{place:.1f}" cy="{y(one.estimate):.1f}" r="3.4" fill="{fill}" stroke="{color}"'
                ' stroke-width="1.6"/>'
            )
    if first:
        said.append(text(left + 4, top + 12, GROUP, 11, GRAY, weight="bold"))
    return said


def line(points: Sequence[tuple[float, float]], color: str) -> str:
    """A line through these points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="1.8"/>'


def text(
    x: float, y: float, said: str, size: int, color: str, anchor: str = "start", turn: int = 0, weight: str = "normal"
) -> str:
    """A line of text, turned by `turn` degrees."""
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}"'
        f' font-weight="{weight}"{turned}>{escape(said)}</text>'
    )
