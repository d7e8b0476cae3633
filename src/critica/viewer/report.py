"""`report.html`: a run on one page that opens without a network."""

import json
import math
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from critica.records.outcome import Difference, NamedReport
from critica.store.evaluations import gains, load_evaluations
from critica.store.files import write_whole
from critica.store.laws import LEVELS
from critica.store.run_folder import RunFolder, StepMetrics
from critica.viewer.calibration import CriticPicture, picture_critic
from critica.viewer.curves import CRITIC, LEARNING, SUPERVISION, draw, stride_for
from critica.viewer.rollouts import ShownRollout, pick_rollouts
from critica.viewer.summary import Tile, clock, glossary_rows, ledger_rows, percent, stage_seconds, tiles

DIGITS = 5
LAST_STEPS = 10  # of which a sentence speaks


def write_report(run_path: Path | str) -> Path:
    """Read the run folder, write `report.html` into it, and say where. The run may still be going on."""
    run = RunFolder.open(run_path)
    path = run.path / "report.html"
    write_whole(path, render_report(run).encode())
    return path


def render_report(run: RunFolder) -> str:
    """The page as text; everything it needs is inside, and its policy forbids it to ask for more."""
    from plotly.offline import get_plotlyjs

    lines = tuple(run.metrics())
    reports = load_evaluations(run.path)
    differences = gains(reports)
    picture = picture_critic(run)
    rollouts = pick_rollouts(run)
    manifest = run.manifest
    # The skeleton is split once, so a `%%NAME%%` inside the run's own text stays text.
    parts = {
        "STYLE": _asset("report.css"),
        "TITLE": escape(f"{manifest.recipe} on {manifest.environment or 'unnamed tasks'}"),
        "FACTS": _facts(run, lines),
        "TILES": "".join(_tile(item) for item in tiles(run, lines, differences, reports)),
        "EVALUATIONS": _evaluations(reports, differences),
        "SMOOTHING": _smoothing(len(lines)),
        "SUPERVISION_NOTE": escape(supervision_note(lines)),
        "CRITIC_NOTE": escape(_critic_note(picture)),
        "LEDGER": _ledger(run),
        "STAGES": _stages(run),
        "GLOSSARY": _glossary(lines),
        "FOOTER": escape(f"{run.path.name} · Critica {manifest.critica_version} · created {manifest.created_at}"),
        "DATA": strict_json(_page_data(lines, picture, rollouts)),
        "PLOTLY": get_plotlyjs(),
        "SCRIPT": _asset("report.js"),
    }
    pieces = _asset("report.html").split("%%")
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def supervision_note(lines: tuple[StepMetrics, ...]) -> str:
    """How far what was said, and what was told, lay from the truth over the last steps, in a sentence."""
    last = lines[-LAST_STEPS:]

    def mean(name: str) -> float:
        found = [value for line in last if not math.isnan(value := line.get(name))]
        return math.fsum(found) / len(found) if found else math.nan

    said, told, flipped = mean("correction/error_said"), mean("correction/error_told"), mean("noise/flipped_share")
    if not math.isnan(told):
        return (
            f"Over the last {len(last)} steps what was said lay {said:.3f} from the truth on average, and what training"
            f" was told after the correction {told:.3f}. A correction without bias may lie further away than what was"
            " said: it trades the systematic error for spread."
        )
    if flipped > 0:
        return f"Noise on purpose changed {100 * flipped:.0f}% of the rewards of the last {len(last)} steps."
    return "No noise was put in on purpose, so the truth is what the source said: errors of its own do not show here."


def _asset(name: str) -> str:
    """A file that ships beside this module."""
    return (files("critica.viewer") / "page" / name).read_text(encoding="utf-8")


def _page_data(
    lines: tuple[StepMetrics, ...], picture: CriticPicture, rollouts: tuple[ShownRollout, ...]
) -> dict[str, Any]:
    stride = stride_for(len(lines))
    steps = [line.step for line in lines][::stride]
    return {
        "steps": steps,
        "middle": (steps[0] + steps[-1]) / 2 if steps else 0,
        "levels": LEVELS,
        "learning": [asdict(chart) for chart in draw(LEARNING, lines, stride)],
        "supervision": [asdict(chart) for chart in draw(SUPERVISION, lines, stride)],
        "critic": [asdict(chart) for chart in draw(CRITIC, lines, stride)],
        "picture": asdict(picture),
        "rollouts": [_rollout(rollout) for rollout in rollouts],
    }


def _rollout(rollout: ShownRollout) -> dict[str, Any]:
    """Tokens as short lists: [text, sampled, value, quantiles, advantage, log-prob]."""
    tokens = [[t.text, t.sampled, t.value, t.quantiles, t.advantage, t.logprob] for t in rollout.tokens]
    return {key: value for key, value in asdict(rollout).items() if key != "tokens"} | {"tokens": tokens}


def strict_json(content: Any) -> str:
    """JSON that cannot end its script element; NaN becomes null, floats keep five digits."""
    text = json.dumps(_short(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _short(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _short(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_short(value) for value in content]
    if isinstance(content, str):
        return content.encode("utf-8", "replace").decode()  # a lone surrogate cannot be written to the page
    if isinstance(content, bool) or not isinstance(content, float):
        return content
    return float(f"{content:.{DIGITS}g}") if math.isfinite(content) else None


def _facts(run: RunFolder, lines: tuple[StepMetrics, ...]) -> str:
    m = run.manifest
    facts = (
        ("recipe", m.recipe), ("policy", m.policy), ("environment", m.environment), ("noise", m.noise),
        ("seed", str(m.seed)), ("steps", str(len(lines))), ("threads", str(m.threads)), ("machine", m.machine),
        ("torch", m.torch_version), ("continues", m.parent_run),
    )  # fmt: skip
    return "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts if v)


def _tile(tile: Tile) -> str:
    return (
        f'<div class="card tile" data-tip="{escape(tile.tip)}"><div class="name">{escape(tile.name)}</div>'
        f'<div class="value">{escape(tile.value)}</div><div class="below">{escape(tile.below)}</div></div>'
    )


def _evaluations(reports: tuple[NamedReport, ...], differences: tuple[Difference, ...]) -> str:
    if not reports:
        return ""
    rows = []
    reports = tuple(sorted(reports, key=lambda x: (-x.report.temperature, x.report.policy_version)))
    for item in reports:
        report = item.report
        best = report.pass_at_k[-1] if report.pass_at_k else None
        passed = f"{percent(best.interval.estimate)} (k = {best.k})" if best and best.k > 1 else "–"
        rows.append(
            (item.name, report.how, _interval(report.accuracy), passed, f"{report.mean_tokens:.1f}",
             str(len(report.prompts)), str(report.samples_per_prompt), str(report.unscored))
        )  # fmt: skip
    head = ("evaluation", "decoding", "accuracy [95% interval]", "pass@k", "tokens", "prompts", "samples", "unscored")
    said = " · ".join(escape(str(gain)) for gain in differences)
    title = "<h2>Held-out accuracy</h2><p>Exact match on prompts that neither warm start nor training saw"
    gain = f"; paired gain: {said}" if said else ""
    return f"{title}{gain}.</p>{_table(head, rows, numbers_from=2)}{_by_source(reports)}"


def _by_source(reports: tuple[NamedReport, ...]) -> str:
    """Accuracy of each task source, if there are several; a source that an evaluation lacks has no number."""
    names = sorted({source.source for item in reports for source in item.report.sources})
    if len(names) < 2:
        return ""
    found = [{source.source: source.interval for source in item.report.sources} for item in reports]
    head = ("task source", *(f"{item.name}, {item.report.how}" for item in reports))
    rows = [(name, *(_interval(part[name]) if name in part else "–" for part in found)) for name in names]
    return '<p class="note">By task source:</p>' + _table(head, rows, numbers_from=1)


def _interval(interval: Any) -> str:
    return f"{percent(interval.estimate)} [{percent(interval.low)}, {percent(interval.high)}]"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], numbers_from: int) -> str:
    def cell(tag: str, index: int, text: str) -> str:
        number = ' class="n"' if index >= numbers_from else ""
        return f"<{tag}{number}>{escape(text)}</{tag}>"

    top = "".join(cell("th", i, text) for i, text in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, text) for i, text in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="card scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _smoothing(count: int) -> str:
    stride = stride_for(count)
    window = 2 * (math.ceil(count / stride) // 25) + 1
    points = f" Each point is the mean of {stride} steps." if stride > 1 else ""
    lines = f" Thin: as measured. Thick: mean over {window} neighboring points." if window > 1 else ""
    return escape(f"Point at a name for its definition.{points}{lines}")


def _critic_note(picture: CriticPicture) -> str:
    note = f"Value law: {picture.value_law}; credit: {picture.advantage_rule}. " if picture.value_law else ""
    if picture.uses_own_outcome:
        note += "This critic's prediction uses the trajectory's own outcome, which flatters every number below."
    return note + ("" if picture.uses_own_outcome else "All against the whole outcome of the trajectory.")


def _ledger(run: RunFolder) -> str:
    rows = [(r.state, r.reason or "–", f"{r.samples:,}", f"{r.prompts:,}") for r in ledger_rows(run)]
    return _table(("state", "reason", "samples", "prompts"), rows, numbers_from=2)


def _stages(run: RunFolder) -> str:
    spent = stage_seconds(run)
    total = math.fsum(spent.values())
    if not total:
        return '<p class="note">This run has no clock readings.</p>'
    rows = [(stage, clock(seconds), percent(seconds / total)) for stage, seconds in spent.items()]
    return _table(("stage", "time", "share"), rows, numbers_from=1)


def _glossary(lines: tuple[StepMetrics, ...]) -> str:
    rows = [
        (
            row.name,
            f"{row.first:.4g}".replace("nan", "–"),
            f"{row.last:.4g}".replace("nan", "–"),
            row.unit,
            row.sentence,
        )
        for row in glossary_rows(lines)
    ]
    return _table(("metric", "first 10 steps", "last 10 steps", "unit", "definition"), rows, numbers_from=9)
