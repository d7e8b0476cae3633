"""The report's sections that are tables: what stands in them, as HTML."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from critica.records.outcome import Difference, NamedReport
from critica.store.run_folder import StepMetrics
from critica.viewer.contest import Contest
from critica.viewer.drift import Sign
from critica.viewer.dropped import MEANING, LedgerRow
from critica.viewer.page import bar, clock, number, percent, table
from critica.viewer.pushes import NoiseEffect
from critica.viewer.questions import Question
from critica.viewer.summary import Tile, glossary_rows, stage_seconds
from critica.viewer.surprises import Surprise, Surprises
from critica.viewer.tasks import HeldOutChange, PromptChange, SampledChange
from critica.viewer.window import ends


def questions_list(questions: Iterable[Question]) -> str:
    """Every question with its answer; each leads to its evidence."""
    return "".join(
        f'<li><a class="card" href="#{item.section}" id="ask-{item.name}"'
        + (f' data-kind="{item.kind}"' if item.kind else "")
        + f"><b>{escape(item.ask)}</b><span>{escape(item.answer)}</span></a></li>"
        for item in questions
    )


def tile_card(tile: Tile) -> str:
    """One large number; its definition opens on a pointer or the keyboard's focus."""
    return (
        f'<div class="card tile" tabindex="0" data-tip="{escape(tile.tip)}"><div class="name">{escape(tile.name)}</div>'
        f'<div class="value">{escape(tile.value)}</div><div class="below">{escape(tile.below)}</div></div>'
    )


def evaluations(reports: Sequence[NamedReport], differences: Sequence[Difference]) -> str:
    """Held-out accuracy, every evaluation of the run."""
    if not reports:
        return ""
    rows = []
    for item in _in_order(reports):
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
    return (
        f"<section id='held-out'>{title}{gain}.</p>{table(head, rows, numbers_from=2)}{_by_source(reports)}</section>"
    )


def _in_order(reports: Sequence[NamedReport]) -> list[NamedReport]:
    """Sampled before greedy; by policy; of one policy the evaluation after training last."""
    return sorted(reports, key=lambda x: (-x.report.temperature, x.report.policy_version, x.name.startswith("after")))


def _by_source(reports: Sequence[NamedReport]) -> str:
    """Accuracy of each task source, if there are several; a source that an evaluation lacks has no number."""
    names = sorted({source.source for item in reports for source in item.report.sources})
    if len(names) < 2:
        return ""
    reports = _in_order(reports)
    found = [{source.source: source.interval for source in item.report.sources} for item in reports]
    head = ("evaluation", *names)
    rows = [
        (f"{item.name}, {item.report.how}", *(_interval(part[name]) if name in part else "–" for name in names))
        for item, part in zip(reports, found, strict=True)
    ]
    return f"<details><summary>by task source</summary>{table(head, rows, numbers_from=1)}</details>"


def contest_table(contest: Contest) -> str:
    """The critic and its stand-ins; the critic by place in the answer."""
    if contest.silent:
        return ""
    head = ("who", "error²: told", "error²: truth", "explained: told", "explained: truth", "what it is")
    rows = [
        (one.name, number(one.mse_told), number(one.mse_clean), number(one.explained_told, ".2f"),
         number(one.explained_clean, ".2f"), one.about)
        for one in contest.contestants
    ]  # fmt: skip
    rows += [
        (f"the critic at the {place.part}", "–", "–", number(place.explained_told, ".2f"),
         number(place.explained_clean, ".2f"), f"{place.tokens:,} tokens")
        for place in contest.places
    ]  # fmt: skip
    return _words_last(table(head, rows, numbers_from=1))


def surprise_tables(found: Surprises) -> str:
    """The largest changes inside answers, at their ends, and by word."""
    inside = _surprise_list("The largest changes inside answers", "value before → after the marked token", found.inside)
    ends_ = _surprise_list("The largest at the end", "last value → what was told", found.ends)
    words = ""
    if found.words:
        largest = found.words[0].size
        rows = [
            (f"<code>{escape(_seen(word.token))}</code>", f"{word.count:,}", f"{word.size:.3f}", f"{word.change:+.3f}",
             bar(word.size / largest))
            for word in found.words
        ]  # fmt: skip
        head = ("token", "written", "mean size", "mean change", "")
        words = f"<div><h3>By token</h3>{table(head, rows, numbers_from=1, raw=(0, 4))}</div>"
    return f'<div class="halves">{inside}<div>{words}{ends_}</div></div>'


def _surprise_list(title: str, says: str, found: Sequence[Surprise]) -> str:
    if not found:
        return ""
    items = "".join(
        f'<li><button class="jump" data-open="{escape(one.trajectory_id)}" data-place="{one.place}">'
        f'<b class="{"up" if one.change > 0 else "down"}">{one.change:+.2f}</b>'
        f'<span class="mono">{escape(_seen(one.context))}<mark>{escape(_seen(one.token))}</mark></span>'
        f'<span class="note">step {one.step} · {number(one.before, ".2f")} → {number(one.after, ".2f")}, '
        f"told {number(one.told, '.2f')}, clean {number(one.clean, '.2f')}</span></button></li>"
        for one in found
    )
    return f'<div><h3>{escape(title)}</h3><p class="note">{escape(says)}</p><ol class="jumps">{items}</ol></div>'


def noise_table(effect: NoiseEffect) -> str:
    """Answers pushed the wrong way, of those told the truth and of those told a lie."""
    rows = [
        (one.kind, f"{one.answers:,}", f"{one.right_down:,}", f"{one.wrong_up:,}", percent(one.wrong_way))
        for one in (effect.truthful, effect.changed)
        if one.answers
    ]
    head = ("trained answers of the last steps", "answers", "right, pushed down", "wrong, pushed up", "the wrong way")
    return table(head, rows, numbers_from=1) if rows else ""


def ledger_table(rows: Iterable[LedgerRow]) -> str:
    """Counts by state and reason; the latest of each reason by name."""
    body = []
    for row in rows:
        named = ", ".join(
            f'<button class="link" data-open="{escape(one.trajectory_id)}">{escape(one.trajectory_id)}</button> '
            f'<span class="note">{escape(one.task_id)}</span>'
            for one in row.named
        )
        which = f"<details><summary>the latest {len(row.named)}</summary>{named}</details>" if named else ""
        meaning = f' <span class="note">{MEANING[row.reason]}</span>' if row.reason in MEANING else ""
        body.append(
            (row.state, f"{escape(row.reason) or '–'}{meaning}{which}", f"{row.samples:,}", f"{row.prompts:,}")
        )  # fmt: skip
    return table(("state", "reason", "samples", "prompts"), body, numbers_from=2, raw=(1,))


def signs_table(signs: Iterable[Sign]) -> str:
    """Each sign at the run's two ends, and its line."""
    rows = [
        (sign.name, _crossed(sign), number(sign.first, ".4g"), number(sign.last, ".4g"), sign.unit, sign.about)
        for sign in signs
    ]
    head = ("sign", "crossed?", "first", "last", "unit", "what it is")
    return _words_last(table(head, rows, numbers_from=2, raw=(1,)), start=3)


def _crossed(sign: Sign) -> str:
    badge = '<span class="badge crossed">crossed</span>' if sign.crossed else '<span class="badge">no</span>'
    return f'{badge} <span class="note">if {escape(sign.line)}</span>'


def tasks_tables(held_out: Sequence[HeldOutChange], sampled: Sequence[SampledChange]) -> str:
    """By source, by prompt, and by what was sampled."""
    parts = [_held_out(way) for way in held_out]
    if sampled:
        rows = [(one.name, percent(one.first), percent(one.last), points(one.last - one.first)) for one in sampled]
        head = ("in training, by source", "first steps", "last steps", "points")
        parts.append(f"<h3>What was sampled in training</h3>{table(head, rows, numbers_from=1)}")
    return "".join(parts)


def _held_out(way: HeldOutChange) -> str:
    head = (f"held out, {way.how}", "prompts", "first", "last", "points")
    rows = [(name, str(n), percent(a), percent(b), points(b - a)) for name, a, b, n in way.sources]
    both = f'<div class="halves">{_prompts("rose", way.rose)}{_prompts("fell", way.fell)}</div>'
    count = way.better + way.worse + way.same
    title = f"{way.better} of {count} better, {way.worse} worse, {way.same} the same, {way.how}"
    shown = f"<details><summary>prompts that rose and fell ({' → '.join(way.evaluations)})</summary>{both}</details>"
    return f"<h3>{escape(title)}</h3>{table(head, rows, numbers_from=1)}{shown if way.rose or way.fell else ''}"


def _prompts(title: str, changes: Sequence[PromptChange]) -> str:
    if not changes:
        return ""
    items = "".join(
        f'<li><span class="steps mono">{escape(" → ".join(number(share, ".2g") for share in one.shares))}</span> '
        f"{escape(one.prompt or one.task_id)}</li>"
        for one in changes
    )
    return f'<div><h3>{title}</h3><ul class="prompts">{items}</ul></div>'


def stages_table(timing: Sequence[StepMetrics]) -> str:
    """Seconds of each stage and its share."""
    spent = stage_seconds(timing)
    total = math.fsum(spent.values())
    if not total:
        return '<p class="note">This run has no clock readings.</p>'
    rows = [
        (stage, clock(seconds), percent(seconds / total), bar(seconds / total)) for stage, seconds in spent.items()
    ]  # fmt: skip
    return table(("stage", "time", "share", ""), rows, numbers_from=1, raw=(3,))


def glossary(lines: Sequence[StepMetrics]) -> str:
    """Every metric at the run's two ends with its definition."""
    count = len(ends(lines)[0])
    rows = [
        (row.name, number(row.first, ".4g"), number(row.last, ".4g"), row.unit, row.sentence)
        for row in glossary_rows(lines)
    ]
    return table(("metric", f"first {count} steps", f"last {count} steps", "unit", "definition"), rows, numbers_from=9)


def points(share: float) -> str:
    """0.123 -> '+12.3'."""
    return "–" if math.isnan(share) else f"{100 * share:+.1f}"


def _words_last(made: str, start: int = 1) -> str:
    """A table whose last column holds words."""
    return made.replace('<div class="card scroll"', f'<div class="card scroll words from{start}"')


def _interval(interval: Any) -> str:
    return f"{percent(interval.estimate)} [{percent(interval.low)}, {percent(interval.high)}]"


def _seen(text: str) -> str:
    """Text whose line ends are seen."""
    return text.replace("\n", "⏎").replace("\t", "⇥")
