"""The noise bench's page: claims, tables, the mechanism, and what the numbers do not say."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from critica.benches.interval_text import level
from critica.benches.noise_arms import ARMS, WARMUP_PARTS
from critica.benches.noise_claims import claims, points, share
from critica.benches.noise_mixes import TUNING_MIX
from critica.benches.noise_settings import CONTROLS, NoiseSettings
from critica.benches.noise_trial import Trial
from critica.benches.noise_verdict import RIVALS, Board, Cell
from critica.functional.statistics import Interval


def noise_page(
    machine: Mapping[str, Any],
    settings: NoiseSettings,
    seeds: int,
    boards: Sequence[Board],
    trials: Sequence[Trial],
    tuned: Mapping[str, float],
) -> str:
    """The whole page."""
    lengths = settings.lengths
    shown = [name for name in ARMS if any(name in board.arms for board in boards)]
    untuned = [name for name in shown if ARMS[name].tuned_as not in tuned]
    commits = sorted({trial.commit for trial in trials})
    parts = [
        "# Supervision that is wrong: recipes under noise\n",
        f"Made by `critica bench noise{chosen(settings, seeds)}`; every number is in noise.json.\n",
        f"{machine['processor']}, one thread a run; torch {machine['versions']['torch']}; runs made at commit"
        f"{'s' * (len(commits) != 1)} {', '.join(commits) or 'none'}.\n",
        f"pico, {lengths.samples:,} samples a run: {lengths.steps} steps of {lengths.prompts_per_step} prompts times"
        f" {lengths.samples_per_prompt} samples; a recipe that draws groups again (dapo) pays for every sample and so"
        " makes fewer steps. Training is told noisy rewards; accuracy is always the clean one, by exact match on the"
        f" same {lengths.held_out} held-out prompts for all runs, in points, mean over seeds with Student's 95%"
        " interval, differences paired by seed.\n",
        "Arms keep their own critic, target, advantage, objective and admission. A critic's warm-up is at most an"
        f" {ordinal(WARMUP_PARTS)} of the run (vc_ppo's and vapo's 50 steps would be all of it), and its samples count."
        f" Learning rates of the policy: for each recipe the best of the same small search on other tasks"
        f" (`{TUNING_MIX}`, noise_tuning.md); the critic's follows from the model's size.\n",
        (
            f"Not searched for, at {settings.learning_rate:g}: {', '.join(untuned)}.\n"
            if untuned
            else "Every arm shown was searched for.\n"
        ),
        *(f"- `{name}`: {ARMS[name].about}." for name in shown),
        "",
        *(part for board in boards for part in board_parts(board)),
        "## What this does not say\n",
        "One model of a million parameters, answers of about 17 tokens, and a run that ends after a few thousand"
        " samples: much of the gain is an early change of manner (pico learns to show every step), which little signal"
        " suffices for. Prompts do not come back, so that a wrong label misleads but cannot be learned by heart."
        " Intervals cover the seeds of training, not the choice of tasks, nor that of learning rates, which was made at"
        " one seed. Whoever is best in a column was chosen on these very runs: a claim about it needs fresh seeds and"
        " other tasks.\n",
    ]
    return "\n".join(parts)


def ordinal(parts: int) -> str:
    """`eighth` for 8."""
    return {2: "half", 4: "fourth", 8: "eighth", 10: "tenth"}.get(parts, f"1/{parts}")


def chosen(settings: NoiseSettings, seeds: int) -> str:
    """The settings of this page that are not the bench's own, as one writes them."""
    said = f" --seeds {seeds}" if seeds != 5 else ""
    usual = NoiseSettings()
    for field in fields(settings):
        value, default = getattr(settings, field.name), getattr(usual, field.name)
        if field.name == "lengths":
            own, plain = asdict(value), asdict(default)
            said += "".join(f" --set lengths.{name}={own[name]}" for name in own if own[name] != plain[name])
        elif value != default and field.name != "jobs":
            said += f" --set '{field.name}={json.dumps(value)}'"
    return said


def board_parts(board: Board) -> list[str]:
    """One mix: claims first, then the tables that they rest on."""
    seeds = sorted({len(cell.seeds) for cell in board.cells})
    counts = f"{seeds[0]} seed{'s' * (seeds[0] != 1)}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    return [
        f"## Tasks `{board.mix}`\n",
        f"{counts}; all runs start at {100 * board.start:.1f} points.\n",
        *(f"- {line}" for line in claims(board)),
        "",
        f"![clean accuracy over samples]({figure_name(board.mix)})\n",
        "Final clean accuracy at temperature 1 (controls last: what is gained there is no use of supervision):\n",
        table(board, lambda cell: level(cell.final)),
        "Greedy:\n",
        table(board, lambda cell: level(cell.greedy)),
        "Share of the arm's own clean final accuracy that is kept, in percent:\n",
        table(board, lambda cell: share(cell.kept).replace("%", "") if cell.kept else ""),
        "Area under the curve (mean accuracy over the samples drawn):\n",
        table(board, lambda cell: level(cell.area)),
        "Worst seed, and how many collapsed:\n",
        table(board, lambda cell: f"{100 * cell.worst:.1f}, {cell.collapsed} of {len(cell.seeds)}"),
        *(
            text
            for rival in RIVALS
            if rival in board.arms
            for text in (
                f"Final accuracy minus {rival}'s, paired by seed (bold: beyond the interval):\n",
                table(board, lambda cell, rival=rival: gain(cell.over[rival])),
            )
        ),
        "### Mechanism\n",
        "Over a run's points. *Explained*: share of the variance of the clean outcome over tokens that the critic's"
        " value explains, and the same inside prompts; a dagger where the value has seen the answer's own outcome."
        " *Alignment*: correlation r over tokens of the advantage with the clean outcome minus its prompt's mean;"
        " r² / (1 - r²) is the signal to noise of the credit. *Told otherwise*: share of answers whose told reward is"
        " not the clean one.\n",
        "Explained, all tokens:\n",
        table(board, lambda cell: known(cell, "explained")),
        "Explained, inside prompts:\n",
        table(board, lambda cell: known(cell, "within")),
        "Alignment of the credit:\n",
        table(board, lambda cell: number(cell.mechanism["alignment"])),
        "Told otherwise:\n",
        table(board, lambda cell: number(cell.mechanism["changed"])),
        "Learning rate, and CPU seconds of a run without evaluation (the machine is shared: no comparison):\n",
        table(board, lambda cell: f"{cell.rate:g}, {cell.cpu_seconds:.0f} s"),
    ]


def figure_name(mix: str) -> str:
    """The name of a mix's picture."""
    return f"noise_{mix}.svg"


def table(board: Board, said: Callable[[Cell], str]) -> str:
    """Arms by noises."""
    heads = [f"{noise} (control)" if noise in CONTROLS else noise for noise in board.noises]
    lines = [f"| arm | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for arm in board.arms:
        cells = (board.cell(noise, arm) for noise in board.noises)
        lines.append(f"| {arm} | " + " | ".join(said(cell) if cell else "" for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def gain(interval: Interval | None) -> str:
    """A difference in points, in bold where its interval excludes 0."""
    if interval is None:
        return ""
    said = points(interval).removesuffix(" (one seed)")
    return f"**{said}**" if interval.low > 0 or interval.high < 0 else said


def known(cell: Cell, name: str) -> str:
    """A part of the mechanism, with a dagger for a value that has seen the outcome."""
    said = number(cell.mechanism[name])
    return f"{said} †" if said and cell.own_outcome else said


def number(interval: Interval | None) -> str:
    """A plain number with its half width."""
    if interval is None:
        return ""
    half = f" ± {interval.high - interval.estimate:.2f}" if math.isfinite(interval.high) else ""
    return f"{interval.estimate:.2f}{half}"
