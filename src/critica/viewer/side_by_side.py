"""Runs side by side on one page that opens without a network: what differs in their settings, and what came of it."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from critica.records.metrics import definition
from critica.store.evaluations import load_evaluations
from critica.store.files import write_whole
from critica.store.run_folder import NO_STEP, RunFolder, StepMetrics
from critica.viewer.changes import change_sentence, metrics_table, prompts_table, sources_table
from critica.viewer.curves import CRITIC, DRIFT, DROPPED, LEARNING, SUPERVISION, stride_for, thin
from critica.viewer.dropped import ledger_rows
from critica.viewer.page import Table, asset, clock, fill, plotly, strict_json, table
from critica.viewer.summary import stage_seconds

MOST_RUNS = 6  # colors that can be told apart
MOST_PROMPTS = 24
LAST_STEPS = 8  # whose prompts are looked through for some that two runs were both asked
CHARTS = (*LEARNING, *SUPERVISION, *CRITIC, *DRIFT, *DROPPED)


def write_side_by_side(runs: Sequence[Path | str], path: Path, tables: Sequence[Table] = ()) -> Path:
    """Write the page; `tables` come first (held-out accuracy, as `critica compare` has it). Says where.

    Raises ValueError for fewer than two runs, or more than can be told apart.
    """
    if not 2 <= len(runs) <= MOST_RUNS:
        raise ValueError(f"a page compares 2 to {MOST_RUNS} runs, not {len(runs)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render([RunFolder.open(run) for run in runs], tables).encode())
    return path


def render(runs: Sequence[RunFolder], tables: Sequence[Table]) -> str:
    """The page as text; everything it needs is inside, and its policy forbids it to ask for more."""
    names = names_of(runs)
    lines = [tuple(run.metrics()) for run in runs]
    reports = [load_evaluations(run.path) for run in runs]
    settings = settings_table(runs, names)
    parts = {
        "STYLE": asset("base.css", "side_by_side.css"),
        "TITLE": escape(" and ".join(names)),
        "KEYS": "".join(
            f'<span class="key"><i style="background:var(--run{i})"></i>{escape(name)}</span>'
            for i, name in enumerate(names)
        ),
        "ANSWER": escape(change_sentence(names, lines, reports, [row[0] for row in settings.rows])),
        "ACCURACY": "".join(map(_table, tables)),
        "SETTINGS": _table(settings),
        "TASKS": _table(sources_table(names, reports)) + _table(prompts_table(names, reports)),
        "METRICS": _table(metrics_table(names, lines, CHARTS)),
        "TIME": _table(stages_table(runs, names)),
        "LEDGER": _table(ledger_table(runs, names)),
        "PROMPTS": _prompts(runs, names),
        "DATA": strict_json({"names": names, "charts": charts_of(lines)}),
        "FIRST": asset("base.js"),
        "PLOTLY": plotly(),
        "SCRIPT": asset("charts.js", "side_by_side.js"),
    }  # fmt: skip
    return fill("side_by_side.html", parts)


def names_of(runs: Sequence[RunFolder]) -> list[str]:
    """Folder names; the folder above in front where two are alike."""
    plain = [run.path.name for run in runs]
    return [name if plain.count(name) == 1 else f"{run.path.resolve().parent.name}/{name}"
            for name, run in zip(plain, runs, strict=True)]  # fmt: skip


def charts_of(lines: Sequence[tuple[StepMetrics, ...]]) -> list[dict[str, Any]]:
    """One picture for each metric of the report that any run has: steps and values of every run."""
    found = []
    for chart in CHARTS:
        for metric, label in chart.series:
            drawn = []
            for one in lines:
                stride = stride_for(len(one))
                values = thin([line.get(metric) for line in one], stride)
                steps = [line.step for line in one][::stride]
                known = any(not math.isnan(value) for value in values)
                drawn.append({"steps": steps, "values": list(values)} if known else {"steps": [], "values": []})
            if any(run["steps"] for run in drawn):
                told = definition(metric)
                title = chart.title if len(chart.series) == 1 else f"{chart.title}: {label}"
                found.append(
                    {"title": title, "metric": metric, "says": told.sentence, "unit": told.unit, "runs": drawn}
                )
    return found


def settings_table(runs: Sequence[RunFolder], names: Sequence[str]) -> Table:
    """Every setting that is not the same in all runs."""
    flat = [dict(leaves(tomllib.loads(run.config_toml))) for run in runs]
    paths = sorted(set().union(*flat))
    rows = [(path, *(str(one.get(path, "–")) for one in flat)) for path in paths]
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    says = "All other settings are the same." if differing else ""
    return Table("What differs in the settings", says, ("setting", *names), differing)


def leaves(table: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """Every value of nested tables with its dotted path; lists of tables by number."""
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            found += leaves(value, here)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                found += leaves(item, f"{here}.{number}") if isinstance(item, Mapping) else [(f"{here}.{number}", item)]
        else:
            found.append((here, value))
    return found


def stages_table(runs: Sequence[RunFolder], names: Sequence[str]) -> Table:
    """Where the time went, as shares of each run's own."""
    spent = [stage_seconds(run.timing()) for run in runs]
    stages = list(dict.fromkeys(stage for one in spent for stage in one))
    rows = [
        (stage, *(f"{100 * one.get(stage, 0.0) / sum(one.values()):.0f}%" if one else "–" for one in spent))
        for stage in stages
    ]
    if rows:
        rows.append(("in all", *(clock(sum(one.values())) for one in spent)))
    says = "Shares of each run's own clock readings; machines and neighbors may differ."
    return Table("Where the time went", says, ("stage", *names), tuple(rows), 1)


def ledger_table(runs: Sequence[RunFolder], names: Sequence[str]) -> Table:
    """Where every sample went."""
    counts = [{(row.state, row.reason): row.samples for row in ledger_rows(run)} for run in runs]
    keys = list(dict.fromkeys(key for one in counts for key in one))
    rows = tuple(
        (state, reason or "–", *(f"{one.get((state, reason), 0):,}" for one in counts)) for state, reason in keys
    )
    return Table("Where every sample went", "", ("state", "reason", *names), rows, 2)


def shared_prompts(runs: Sequence[RunFolder]) -> list[tuple[str, str, list[list[Mapping[str, Any]]]]]:
    """Prompts of the last steps that every run was asked: (prompt, answer, rows of each run)."""
    columns = ["task_id", "prompt", "answer", "text", "reward_told", "reward_clean", "flipped"]
    asked: list[dict[str, list[Mapping[str, Any]]]] = []
    for run in runs:
        found: dict[str, list[Mapping[str, Any]]] = {}
        last = run.last_step
        for step in range(max(NO_STEP + 1, last - LAST_STEPS + 1), last + 1) if last > NO_STEP else ():
            for row in run.rollouts(step, columns).to_pylist():
                found.setdefault(row["prompt"], []).append(row)
        asked.append(found)
    both = [prompt for prompt in asked[0] if all(prompt in one for one in asked[1:])]
    return [(prompt, asked[0][prompt][0]["answer"], [one[prompt] for one in asked]) for prompt in both[:MOST_PROMPTS]]


def _prompts(runs: Sequence[RunFolder], names: Sequence[str]) -> str:
    shown = shared_prompts(runs)
    if not shown:
        return '<p class="note">No prompt of the last steps was asked in all of them (other seeds, other tasks).</p>'
    cards = []
    for prompt, answer, answers in shown:
        columns = "".join(
            f'<div><div class="title"><i style="background:var(--run{i})"></i>{escape(name)}: {_share(rows)}</div>'
            f"{''.join(_answer(row) for row in rows[:3])}</div>"
            for i, (name, rows) in enumerate(zip(names, answers, strict=True))
        )
        cards.append(
            f'<section class="card pair"><p class="prompt">{escape(prompt)}</p>'
            f'<p class="note">right: {escape(answer) or "–"}</p><div class="columns">{columns}</div></section>'
        )
    return "".join(cards)


def _share(rows: Sequence[Mapping[str, Any]]) -> str:
    known = [row["reward_clean"] for row in rows if row["reward_clean"] is not None]
    return f"mean clean reward {math.fsum(known) / len(known):.2f} of {len(rows)}" if known else f"{len(rows)} answers"


def _answer(row: Mapping[str, Any]) -> str:
    told, clean = ("–" if row[key] is None else f"{row[key]:.2f}" for key in ("reward_told", "reward_clean"))
    flipped = ", flipped" if row["flipped"] else ""
    return f'<p class="mono">{escape(row["text"])}</p><p class="note">told {told}, clean {clean}{flipped}</p>'


def _table(content: Table) -> str:
    if not content.rows:
        return ""
    made = table(content.head, content.rows, content.numbers_from)
    return f"<h2>{escape(content.title)}</h2><p>{escape(content.says)}</p>{made}"
