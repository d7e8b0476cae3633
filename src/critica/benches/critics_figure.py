"""The critics bench's figure: for each field, every critic's ratio to the group's mean inside prompts, as an SVG."""

import math
from collections.abc import Sequence
from html import escape

from critica.benches.critics_verdicts import WANTED_RATIO, Row

LEFT, PANEL, GAP, LINE, TOP = 330.0, 150.0, 14.0, 15.0, 46.0
SPAN = 1.6  # ratios beyond it stand at the right edge
INK, FAINT, BLUE, RED, GRAY = "#1b1b1b", "#d8d8d8", "#1f5fa8", "#b03a2e", "#8a8a8a"


def figure(rows: Sequence[Row], condition: str) -> str:
    """Dots with their intervals; the shaded part of each panel lies below what a perfect critic would read."""
    shown = [row for row in rows if row.condition == condition]
    fields = list(dict.fromkeys(row.field for row in shown))
    by = {(row.spec, row.field): row for row in shown}
    specs = sorted(dict.fromkeys(row.spec for row in shown), key=lambda spec: (_mean(spec, fields, by), spec))
    width, height = LEFT + len(fields) * (PANEL + GAP) + 10, TOP + len(specs) * LINE + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(8.0, 18.0, f"Mean absolute error inside prompts, over the group mean's (equal {condition})", 13, INK),
    ]
    bottom = TOP + len(specs) * LINE
    for number, spec in enumerate(specs):
        parts.append(_text(LEFT - 8, TOP + number * LINE + 11, spec, 10, INK, "end"))
    for column, field in enumerate(fields):
        left = LEFT + column * (PANEL + GAP)
        floor = next(row.floor for row in shown if row.field == field)
        parts.append(_text(left + PANEL / 2, TOP - 8, field, 11, INK, "middle"))
        parts.append(f'<rect x="{left}" y="{TOP}" width="{_x(floor):.1f}" height="{bottom - TOP}" fill="#efefef"/>')
        for at, color in ((1.0, GRAY), (WANTED_RATIO, RED)):
            x = left + _x(at)
            ends = f'x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"'
            parts.append(f'<line {ends} stroke="{color}" stroke-dasharray="3 3"/>')
        for at in (0.0, 0.5, 1.0, 1.5):
            parts.append(_text(left + _x(at), bottom + 13, f"{at:g}", 9, GRAY, "middle"))
        frame = f'x="{left}" y="{TOP}" width="{PANEL}" height="{bottom - TOP}"'
        parts.append(f'<rect {frame} fill="none" stroke="{FAINT}"/>')
        for number, spec in enumerate(specs):
            row = by.get((spec, field))
            if row is not None and math.isfinite(row.ratio):
                parts += _dot(row, left, TOP + number * LINE + 7)
    return "\n".join([*parts, "</svg>", ""])


def _mean(spec: str, fields: Sequence[str], by: dict[tuple[str, str], Row]) -> float:
    known = [by[spec, field].ratio for field in fields if (spec, field) in by and math.isfinite(by[spec, field].ratio)]
    return math.fsum(known) / len(known) if known else math.inf


def _dot(row: Row, left: float, y: float) -> list[str]:
    color = GRAY if row.spec.startswith("mcs@") else BLUE
    low, high = (_x(end if math.isfinite(end) else row.ratio) for end in (row.low, row.high))
    return [
        f'<line x1="{left + low:.1f}" y1="{y}" x2="{left + high:.1f}" y2="{y}" stroke="{color}"/>',
        f'<circle cx="{left + _x(row.ratio):.1f}" cy="{y}" r="3" fill="{color}"/>',
    ]


def _x(value: float) -> float:
    return PANEL * min(max(value, 0.0), SPAN) / SPAN


def _text(x: float, y: float, text: str, size: int, color: str, anchor: str = "start") -> str:
    style = f'font-size="{size}" fill="{color}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
