"""A critic's audit on one page that opens without a network."""

import math
from html import escape
from pathlib import Path
from typing import Any

from critica.records.critic_report import READINGS, CriticReport, PanelRow
from critica.store.files import write_whole
from critica.viewer.page import asset, fill, plotly, strict_json


def write_critic_page(report: CriticReport, path: Path) -> Path:
    """Write the page, whole or not at all; says where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render_critic_page(report).encode())
    return path


def render_critic_page(report: CriticReport) -> str:
    """The page as text; everything it needs is inside, and its policy forbids it to ask for more."""
    parts = {
        "STYLE": asset("base.css"),
        "TITLE": escape(f"{report.critic} on {report.environment}"),
        "FACTS": _facts(report),
        "TILES": _tiles(report),
        "ROWS": _rows(report),
        "NOTE": escape(_note(report)),
        "FOOTER": escape(_footer(report)),
        "DATA": strict_json(_data(report)),
        "PLOTLY": plotly(),
        "FIRST": asset("base.js"),
        "SCRIPT": asset("charts.js", "critic.js"),
    }
    return fill("critic.html", parts)


def _data(report: CriticReport) -> dict[str, Any]:
    content = report.to_json()
    names = ("low", "high", "by_place", "by_length", "reliability", "states")
    return {name: content[name] for name in names} | {"prompts": _prompt_numbers(report)}


def _prompt_numbers(report: CriticReport) -> list[int]:
    """Each state's prompt as a number: the page takes the prompts' means out."""
    known: dict[str, int] = {}
    return [known.setdefault(state.task_id, len(known)) for state in report.states]


def _facts(report: CriticReport) -> str:
    facts = (
        ("target", report.target), ("law", report.law), ("policy", report.policy),
        ("policy version", str(report.policy_version)), ("critic's step", str(report.critic_step)),
        ("truth", report.truth), ("noise on what is told", report.noise), ("seed", str(report.seed)),
    )  # fmt: skip
    return "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)


def _tiles(report: CriticReport) -> str:
    mine, group = report.row("critic"), report.row("group mean")
    price = report.price
    tiles = [
        _tile("Error inside prompts", mine, "within_mae", f"group mean {_value(group, 'within_mae')}"),
        _tile("Explained inside prompts", mine, "within_explained", "0: collapsed to a mean of the prompt"),
        _tile("Explained variance", mine, "explained_variance", f"group mean {_value(group, 'explained_variance')}"),
        _tile("Mean square error", mine, "mse", f"group mean {_value(group, 'mse')}"),
        _tile("Bias", mine, "bias", "above 0: expects too much"),
        _card(
            "Cost", f"{1e6 * price.seconds / max(1, price.tokens):.0f} µs/token",
            f"{price.parameters:,} weights, {price.megabytes:.1f} MiB", "Time of one prediction over the whole batch",
        ),
    ]  # fmt: skip
    return "".join(tiles)


def _value(row: PanelRow, name: str) -> str:
    return _short(row[name].value)


def _tile(title: str, row: PanelRow, name: str, below: str) -> str:
    reading = row[name]
    around = "" if math.isnan(reading.low) else f"[{_short(reading.low)}, {_short(reading.high)}] · "
    return _card(title, _short(reading.value), around + below, READINGS[name].sentence)


def _card(title: str, value: str, below: str, tip: str) -> str:
    return (
        f'<div class="card tile" tabindex="0" data-tip="{escape(tip)}"><div class="name">{escape(title)}</div>'
        f'<div class="value">{escape(value)}</div><div class="below">{escape(below)}</div></div>'
    )


def _rows(report: CriticReport) -> str:
    head = "".join(f'<th class="n" title="{escape(row.about)}">{escape(row.name)}</th>' for row in report.rows)
    body = []
    for reading in report.rows[0].readings:
        told = READINGS[reading.name]
        cells = "".join(f'<td class="n">{_cell(row, reading.name)}</td>' for row in report.rows)
        body.append(
            f"<tr><td>{escape(reading.name)}</td>{cells}<td class='n'>{_short(reading.floor)}</td>"
            f"<td>{escape(told.unit)}</td><td class='note'>{escape(told.sentence)}</td></tr>"
        )
    return (
        f"<div class='scroll card' tabindex='0' role='region' aria-label='every reading'><table><tr>"
        f"<th>reading</th>{head}<th class='n'>perfect</th><th>unit</th>"
        f"<th>what it is</th></tr>{''.join(body)}</table></div>"
    )


def _cell(row: PanelRow, name: str) -> str:
    found = [reading for reading in row.readings if reading.name == name]
    if not found or math.isnan(found[0].value):
        return "–"
    one = found[0]
    around = "" if math.isnan(one.low) else f" <span class='note'>[{_short(one.low)}, {_short(one.high)}]</span>"
    return f"{_short(one.value)}{around}"


def _note(report: CriticReport) -> str:
    said = (
        f"{len(report.states)} states of fresh answers to {report.prompts} held-out prompts; the truth of each is the"
        f" mean clean reward of {report.truth}. Intervals are over prompts. “Perfect” is what the true value itself"
        " would read, measured in the same way."
    )
    return said + (" This critic has seen the outcome of the answers that it speaks about." * report.uses_own_outcome)


def _footer(report: CriticReport) -> str:
    shown = ", ".join(f"{name} {value:.3g}" for name, value in report.plasticity)
    age = f"{report.target} · {report.age:+d} updates of the policy since the critic's"
    return f"{age} · {shown}" if shown else age


def _short(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
