"""The noise bench's picture: one panel for each noise, a curve for each arm, clean accuracy over samples drawn."""

import math
from collections.abc import Mapping, Sequence

from critica.benches.noise_trial import Trial
from critica.benches.noise_verdict import Board
from critica.benches.payback_figure import GRID, INK, text

WIDTH, HEIGHT, GAP, LEFT, TOP, ROW = 200.0, 190.0, 16.0, 52.0, 64.0, 46.0
COLUMNS = 4
COLORS = (
    "#8a8a8a", "#c2a05a", "#d1495b", "#2e86ab", "#1b998b", "#6a4c93", "#f18f01", "#3c6e47",
    "#e07be0", "#7a4419", "#00a6a6", "#556b2f", "#111111", "#b23a48", "#4361ee",
)  # fmt: skip


def noise_figure(board: Board, trials: Sequence[Trial]) -> str:
    """An SVG of means over seeds; whiskers at the end of a curve are 95% intervals over seeds."""
    here = [trial for trial in trials if trial.mix == board.mix]
    arms, noises = board.arms, board.noises
    colors = {arm: COLORS[i % len(COLORS)] for i, arm in enumerate(arms)}
    rows = math.ceil(len(noises) / COLUMNS)
    width = LEFT + min(COLUMNS, len(noises)) * (WIDTH + GAP) + 120
    height = TOP + rows * (HEIGHT + ROW)
    values = [point.accuracy for trial in here for point in trial.points]
    scale = math.floor(10 * min(values)) / 10, min(1.0, math.ceil(10 * max(values)) / 10)
    said = [
        text(
            LEFT, 22.0, f"Clean held-out accuracy at temperature 1, tasks {board.mix} (points)", 15, INK, weight="bold"
        ),
        text(LEFT, 40.0, "means over seeds against samples drawn; whiskers: 95% over seeds at the end", 11, INK),
    ]
    for i, noise in enumerate(noises):
        left, top = LEFT + i % COLUMNS * (WIDTH + GAP), TOP + i // COLUMNS * (HEIGHT + ROW)
        curves = {arm: [t for t in here if (t.noise, t.arm) == (noise, arm)] for arm in arms}
        said += panel(board, noise, curves, colors, left, top, scale, first=i % COLUMNS == 0)
    for i, arm in enumerate(arms):
        said.append(text(width - 112, TOP + 14 + 16 * i, arm, 12, colors[arm], weight="bold"))
    inner = "\n".join(said)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' height="{height:.0f}" font-family="Helvetica, Arial, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{inner}\n</svg>\n'
    )


def panel(
    board: Board,
    noise: str,
    curves: Mapping[str, Sequence[Trial]],
    colors: Mapping[str, str],
    left: float,
    top: float,
    scale: tuple[float, float],
    first: bool,
) -> list[str]:
    """One noise."""
    low, high = scale
    most = max(trial.points[-1].samples for trials in curves.values() for trial in trials)

    def y(value: float) -> float:
        return top + HEIGHT * (high - min(max(value, low), high)) / max(high - low, 0.1)

    said = [text(left + WIDTH / 2, top - 6, noise, 12, INK, anchor="middle", weight="bold")]
    for mark in range(round(10 * low), round(10 * high) + 1):
        said.append(f'<path d="M{left:.1f} {y(mark / 10):.1f}h{WIDTH:.1f}" stroke="{GRID}"/>')
        if first:
            said.append(text(left - 6, y(mark / 10) + 4, str(10 * mark), 11, INK, anchor="end"))
    said.append(text(left, top + HEIGHT + 15, "0", 11, INK))
    said.append(text(left + WIDTH, top + HEIGHT + 15, f"{most:,}", 11, INK, anchor="end"))
    for arm, trials in curves.items():
        cell = board.cell(noise, arm)
        if cell is None or not trials:
            continue
        shared = min(len(trial.points) for trial in trials)
        means = [
            (
                sum(trial.points[k].samples for trial in trials) / len(trials),
                sum(trial.points[k].accuracy for trial in trials) / len(trials),
            )
            for k in range(shared)
        ]
        joined = " ".join(f"{left + WIDTH * x / most:.1f},{y(value):.1f}" for x, value in means)
        said.append(f'<polyline points="{joined}" fill="none" stroke="{colors[arm]}" stroke-width="1.6"/>')
        if math.isfinite(cell.final.low):
            end = left + WIDTH * means[-1][0] / most
            ends = f"M{end:.1f} {y(cell.final.low):.1f}V{y(cell.final.high):.1f}"
            said.append(f'<path d="{ends}" stroke="{colors[arm]}" stroke-width="1.2"/>')
    return said
