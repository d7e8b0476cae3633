"""`report.html`: a run on one page that opens without a network and answers ten questions."""

import math
import shlex
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from critica.store.files import write_whole
from critica.store.laws import LEVELS
from critica.store.run_folder import RunFolder, StepMetrics
from critica.viewer import sections
from critica.viewer.calibration import CriticPicture
from critica.viewer.curves import CRITIC, DRIFT, DROPPED, LEARNING, SUPERVISION, draw, draw_clock, stride_for
from critica.viewer.page import asset, fill, plotly, strict_json
from critica.viewer.questions import questions_of
from critica.viewer.rollouts import ShownRollout
from critica.viewer.story import Story, read_story
from critica.viewer.summary import tiles
from critica.viewer.window import WINDOW, mean_of


def write_report(run_path: Path | str) -> Path:
    """Read the run folder, write `report.html` into it, and say where. The run may still be going on."""
    run = RunFolder.open(run_path)
    path = run.path / "report.html"
    write_whole(path, render_report(run).encode())
    return path


def render_report(run: RunFolder) -> str:
    """The page as text; everything it needs is inside, and its policy forbids it to ask for more."""
    story = read_story(run)
    manifest, lines = run.manifest, story.lines
    questions = tuple(questions_of(story))
    answers = {f"ANSWER_{one.name.upper()}": escape(one.answer) for one in questions}
    parts = {
        "STYLE": asset("base.css", "report.css"),
        "TITLE": escape(f"{manifest.recipe} on {manifest.environment or 'unnamed tasks'}"),
        "FACTS": _facts(run, lines),
        "TILES": "".join(sections.tile_card(item) for item in tiles(lines, story.timing, story.gains, story.reports)),
        "QUESTIONS": sections.questions_list(questions),
        "EVALUATIONS": sections.evaluations(story.reports, story.gains),
        "SMOOTHING": _smoothing(len(lines)),
        "CRITIC_NOTE": escape(_critic_note(story.picture)),
        "CONTEST": sections.contest_table(story.contest),
        "SURPRISES": sections.surprise_tables(story.surprises),
        "SUPERVISION_NOTE": escape(supervision_note(lines)),
        "NOISE": sections.noise_table(story.noise),
        "LEDGER": sections.ledger_table(story.ledger),
        "SIGNS": sections.signs_table(story.signs),
        "TASKS": sections.tasks_tables(story.held_out, story.sampled),
        "STAGES": sections.stages_table(story.timing),
        "COMMAND": escape(f"critica compare {shlex.quote(str(run.path))} OTHER_RUN --html side_by_side.html"),
        "CONFIG": escape(run.config_toml),
        "GLOSSARY": sections.glossary(lines),
        "FOOTER": escape(f"{run.path.name} · Critica {manifest.critica_version} · created {manifest.created_at}"),
        "DATA": strict_json(_page_data(story)),
        "FIRST": asset("base.js", "answers.js"),
        "PLOTLY": plotly(),
        "SCRIPT": asset("charts.js", "report.js"),
    }
    return fill("report.html", parts | answers)


def supervision_note(lines: tuple[StepMetrics, ...]) -> str:
    """How far what was said, and what was told, lay from the truth over the last steps, in a sentence."""
    last = lines[-WINDOW:]
    said, told = mean_of(last, "correction/error_said"), mean_of(last, "correction/error_told")
    if not math.isnan(told):
        return (
            f"Over the last {len(last)} steps what was said lay {said:.3f} from the truth on average, and what training"
            f" was told after the correction {told:.3f}. A correction without bias may lie further away than what was"
            " said: it trades the systematic error for spread."
        )
    if mean_of(last, "noise/flipped_share") > 0:
        return "An answer is pushed up where the mean credit of its tokens is above 0, and down where it is below."
    return "No noise was put in on purpose, so the truth is what the source said: errors of its own do not show here."


def _page_data(story: Story) -> dict[str, Any]:
    lines = story.lines
    stride = stride_for(len(lines))
    steps = [line.step for line in lines][::stride]
    drawn = {
        "learning": LEARNING, "supervision": SUPERVISION, "critic": CRITIC, "dropped": DROPPED, "drift": DRIFT,
    }  # fmt: skip
    return {
        "steps": steps,
        "middle": (steps[0] + steps[-1]) / 2 if steps else 0,
        "levels": LEVELS,
        **{name: [asdict(chart) for chart in draw(charts, lines, stride)] for name, charts in drawn.items()},
        **({"critic": []} if story.contest.silent else {}),
        "clock": [asdict(chart) for chart in draw_clock(lines, story.timing, stride)],
        "tenths": story.surprises.tenths,
        "picture": asdict(story.picture),
        "rollouts": [_rollout(rollout) for rollout in story.answers.rollouts],
        "groups": {key: [asdict(one) for one in members] for key, members in story.answers.groups.items()},
    }


def _rollout(rollout: ShownRollout) -> dict[str, Any]:
    """Tokens as short lists: [text, sampled, value, quantiles, advantage, log-prob]."""
    tokens = [[t.text, t.sampled, t.value, t.quantiles, t.advantage, t.logprob] for t in rollout.tokens]
    return {key: value for key, value in asdict(rollout).items() if key != "tokens"} | {"tokens": tokens}


def _facts(run: RunFolder, lines: tuple[StepMetrics, ...]) -> str:
    m = run.manifest
    facts = (
        ("recipe", m.recipe), ("policy", m.policy), ("environment", m.environment), ("noise", m.noise),
        ("seed", str(m.seed)), ("steps", str(len(lines))), ("threads", str(m.threads)), ("machine", m.machine),
        ("torch", m.torch_version), ("continues", m.parent_run),
    )  # fmt: skip
    return "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts if v)


def _smoothing(count: int) -> str:
    stride = stride_for(count)
    window = 2 * (math.ceil(count / stride) // 25) + 1
    points = f" Each point is the mean of {stride} steps." if stride > 1 else ""
    lines = f" Thin: as measured. Thick: mean over {window} neighboring points." if window > 1 else ""
    return escape(f"Point at a name for its definition, press it to hide its line.{points}{lines}")


def _critic_note(picture: CriticPicture) -> str:
    if not picture.steps:
        return ""
    note = f"Value law: {picture.value_law}; credit: {picture.advantage_rule}. "
    if picture.uses_own_outcome:
        return note + "This critic's prediction uses the trajectory's own outcome, which flatters every number below."
    return note + "All against the whole outcome of the trajectory."
