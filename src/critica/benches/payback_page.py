"""The payback bench's page: verdicts, tables, and what the numbers do not say."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from critica.benches.interval_text import level
from critica.benches.payback_arms import ARMS
from critica.benches.payback_verdict import Cell, Edition, verdict_lines
from critica.critics.prompt_value import REVIEW_STEPS
from critica.functional.statistics import Interval

if TYPE_CHECKING:
    from critica.benches.payback import PaybackSettings


def payback_page(machine: Mapping[str, Any], settings: "PaybackSettings", editions: Sequence[Edition]) -> str:
    """The whole page."""
    shown = [name for name in ARMS if any(name in edition.arms for edition in editions)]
    parts = [
        "# Payback: fewer samples per prompt, with and without a critic\n",
        f"Made by `critica bench payback{chosen(settings)}`; every number is in payback.json.\n",
        f"{machine['processor']}, one thread a run; torch {machine['versions']['torch']};"
        f" commit {machine['commit']}.\n",
        f"pico on its own tasks, {settings.steps} steps of {settings.samples_per_step} samples: n samples of each of"
        f" {settings.samples_per_step} / n prompts. Accuracy: exact match by the clean scorer at temperature 1, in"
        f" points, on the same {settings.prompts} held-out prompts for all runs; mean over seeds with Student's 95%"
        " interval, differences paired by seed. Cost: CPU seconds of the single-threaded run (sampling, scoring,"
        " critic, update, bookkeeping) without evaluation, because the machine is shared; each stretch between two"
        " measurements costs its least over seeds, as neighbors can only add to it. Equal CPU time is the most"
        " that every arm at every n has spent, linear between measurements.\n",
        "All arms share the optimizer, the learning rate"
        f" ({settings.learning_rate:g}), the clipped ratio (on-policy, one update a step, so that the clip never"
        " binds), the token mean and standardized credit; learned critics share their rate and train from the first"
        " step, without warm-up. What each keeps of its own:\n",
        *(f"- `{name}`: {ARMS[name].keeps}." for name in shown),
        "",
        *(part for edition in editions for part in edition_parts(edition)),
        "## What this does not say\n",
        f"One model of a million parameters, one task mix, one short run of {settings.steps} updates: most of the gain"
        " is an early change of manner (pico learns to show every step), and a learned critic that starts from nothing"
        " has had as few updates as the policy; a longer run, or a critic that was fitted beforehand, may pay back what"
        " this one cannot. Answers are about 17 tokens long and prompts as long again, so that many prompts cost CPU"
        f" time of their own. No prompt comes back, and v0 first chooses its kernel at step {REVIEW_STEPS}: until then"
        " it is the base rate of all prompts so far. Where sampling dominates the cost (large models, long answers) a"
        " critic's own passes weigh less than here. Intervals cover the seeds, not the costs, which are taken as"
        " measured. One comparison in twenty excludes 0 by chance. One learning rate for all suits no arm in"
        " particular.\n",
    ]
    return "\n".join(parts)


def chosen(settings: "PaybackSettings") -> str:
    """The settings of this page that are not the bench's own, as one writes them."""
    usual = {field.name: field.default for field in fields(settings)}
    said = {name: value for name, value in asdict(settings).items() if value != usual[name] and name != "jobs"}
    return "".join(f" --set '{name}={json.dumps(value)}'" for name, value in said.items())


def edition_parts(edition: Edition) -> list[str]:
    """One edition's verdicts, picture and tables."""
    seeds = sorted({cell.seeds for cell in edition.cells})
    name = "Clean rewards" if edition.noise == "none" else f"Noisy rewards (`{edition.noise}`), clean accuracy"
    return [
        f"## {name}\n",
        f"{' to '.join(map(str, sorted({seeds[0], seeds[-1]})))} seeds; all runs start at"
        f" {100 * edition.start:.1f} points.\n",
        *(f"- {line}" for line in verdict_lines(edition)),
        "",
        f"![accuracy against samples per prompt]({edition.figure})\n",
        f"At equal samples, {edition.samples:,}:\n",
        table(edition, lambda cell: level(cell.at_samples)),
        "The same minus the group baseline with as many samples a prompt:\n",
        table(edition, lambda cell: gain(cell.over_group_samples)),
        f"At equal CPU time, {edition.budget_seconds:.1f} s:\n",
        table(edition, lambda cell: level(cell.at_cost)),
        "The same minus the group baseline with as many samples a prompt:\n",
        table(edition, lambda cell: gain(cell.over_group_cost)),
        "CPU seconds of a whole undisturbed run:\n",
        table(edition, lambda cell: f"{cell.cost_seconds:.1f}"),
        "Greedy, at equal samples:\n",
        table(edition, lambda cell: level(cell.greedy)),
    ]


def table(edition: Edition, said: Callable[[Cell], str]) -> str:
    """Arms by sample counts."""
    lines = [
        "| arm | " + " | ".join(f"n = {n}" for n in edition.counts) + " |",
        "|---" * (1 + len(edition.counts)) + "|",
    ]
    for arm in edition.arms:
        cells = (edition.cell(arm, n) for n in edition.counts)
        lines.append(f"| {arm} | " + " | ".join(said(cell) if cell else "" for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def gain(interval: Interval | None) -> str:
    """A difference in points, in bold where its interval excludes 0."""
    if interval is None:
        return ""
    if not math.isfinite(interval.low):
        return f"{100 * interval.estimate:+.1f}"
    said = f"{100 * interval.estimate:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    return f"**{said}**" if interval.low > 0 or interval.high < 0 else said
