"""The speed bench's table: ratio, bound, kept or not, the two medians, the spread of rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from critica.benches.matches import SCALING_CEILING
from critica.benches.ratios import Verdict, largest_deviation, values
from critica.benches.readings import Journal

FORMS = {"seconds": "{:.3f} s", "tokens_per_second": "{:,.0f} tok/s", "peak_mib": "{:,.0f} MiB"}


@dataclass(frozen=True, slots=True)
class Scaling:
    """Microseconds per sampled token by tokens a step, and the largest deviation from their median."""

    tokens: tuple[int, ...]
    microseconds_per_token: tuple[float, ...]
    deviation: float
    rounds: int

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return self.deviation <= SCALING_CEILING


def scaling_of(journals: Mapping[str, Journal]) -> Scaling | None:
    """From the scaling match's readings; None if there are none."""
    journal = next((journal for name, journal in journals.items() if name.startswith("scaling-")), None)
    if journal is None or not journal.readings:
        return None
    names = sorted({reading.contender for reading in journal.readings}, key=int)
    rounds = journal.quiet_rounds(names) or journal.rounds_done(names)
    if not rounds:
        return None
    costs = [1e6 * median(1 / rate for rate in values(journal, name, "tokens_per_second", rounds)) for name in names]
    return Scaling(tuple(map(int, names)), tuple(costs), largest_deviation(costs), len(rounds))


@dataclass(frozen=True, slots=True)
class Split:
    """Where a step's seconds go: named stages, and the rest (the run folder, and what lies between stages)."""

    contender: str
    stages: Mapping[str, float]


def splits_of(journals: Mapping[str, Journal], sizes: Sequence[str]) -> list[Split]:
    """Median seconds by stage of every recipe of the family matches."""
    found = []
    for size in sizes:
        readings = journals[name].readings if (name := f"family-{size}-forced") in journals else []
        for contender in dict.fromkeys(reading.contender for reading in readings):
            own = [reading for reading in readings if reading.contender == contender]
            chosen = [reading for reading in own if reading.quiet] or own
            stages = {s: median(r.stages.get(s, 0.0) / r.units for r in chosen) for s in chosen[0].stages}
            rest = median((r.seconds - sum(r.stages.values())) / r.units for r in chosen)
            found.append(Split(f"{contender}, {size}", {**stages, "rest": rest}))
    return found


def speed_table(
    machine: Mapping[str, Any],
    rounds: int,
    policies: Mapping[str, Any],
    verdicts: Sequence[tuple[str, Verdict]],
    scaling: Scaling | None,
    splits: Sequence[Split] = (),
    failures: Sequence[str] = (),
) -> str:
    """The whole page."""
    parts = [
        "# Speed\n",
        "Made by `critica bench speed`; every raw reading is in speed.json.\n",
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, fp32;"
        f" Python {machine['python']}, torch {machine['versions']['torch']},"
        f" transformers {machine['versions']['transformers']}; commit {machine['commit']}.\n",
        "16 prompts × 8 samples. Forced length: every answer has 64 tokens; natural: answers end by themselves, at most"
        " 64 tokens. Contenders of a match share weights and prompts, run in turns (A, B, A, B, …), one at a time, each"
        f" in its own process; ratios are taken within a round, and their median over {rounds} rounds or more is shown"
        " with the extremes. A round counts as disturbed if other processes used more than 0.1 cores; disturbed rounds"
        " are left out where there are others.\n",
        "`default`: the peer as it comes, in fp32, without gradient checkpointing (TRL's own default has it on: slower,"
        " less memory; the row `checkpointing` shows it). `fast`: the same peer with what makes it faster"
        " on this machine and keeps fp32: quiet malloc, and oneDNN's products with eager attention where they are exact"
        " (on processors with AMX they are not, and are left out). GRPO runs without a reference on both sides. PPO"
        " runs with a full-size separate critic and a reference on both sides, because TRL's always reads one; the"
        " recipe itself has none. Ours includes reward workers, metrics and the run folder; no side writes"
        " checkpoints.\n",
    ]
    for size, facts in policies.items():
        rows = [verdict for of_size, verdict in verdicts if of_size == size]
        if rows:
            parts += [f"## {size} ({facts['parameters']:,} parameters)\n", _rows(rows)]
    if scaling:
        parts += ["## Time per token\n", _scaling(scaling)]
    if splits:
        parts += ["## Where a step's time goes\n", _splits(splits)]
    if failures:
        parts += ["## Not measured\n", "\n".join(f"- {failure}" for failure in failures) + "\n"]
    return "\n".join(parts)


def _rows(verdicts: Sequence[Verdict]) -> str:
    head = "| what | ratio | bound | | first | second | rounds' ratios | rounds | disturbed |"
    return "\n".join([head, "|---" * 9 + "|", *map(_row, verdicts)]) + "\n"


def _row(v: Verdict) -> str:
    promise, form = v.promise, FORMS[v.promise.quantity]
    sign = {"at least": "≥", "at most": "≤", "informative": ""}[promise.rule]
    bound = f"{sign} {promise.bound:g}" if sign else ""
    mark = {True: "pass", False: "FAIL", None: ""}[v.kept]
    first, second = (f"{name} {form.format(x)}" for name, x in ((promise.of, v.of), (promise.to, v.to)))
    spread = f"{v.low:.2f}–{v.high:.2f}"
    return (
        f"| {promise.title} | **{v.ratio:.2f}** | {bound} | {mark} | {first} | {second} | {spread} | {v.rounds}"
        f" | {v.disturbed or ''} |"
    )


def _splits(splits: Sequence[Split]) -> str:
    names = list(dict.fromkeys(stage for split in splits for stage in split.stages))
    lines = ["| ms a step | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for split in splits:
        cells = " | ".join(f"{1000 * split.stages.get(name, 0.0):.0f}" for name in names)
        lines.append(f"| {split.contender} | {cells} |")
    return "\n".join(lines) + "\n"


def _scaling(scaling: Scaling) -> str:
    head = "| tokens a step | " + " | ".join(f"{tokens:,}" for tokens in scaling.tokens) + " |"
    line = "|---" * (1 + len(scaling.tokens)) + "|"
    costs = "| µs per token | " + " | ".join(f"{cost:.1f}" for cost in scaling.microseconds_per_token) + " |"
    mark = "pass" if scaling.kept else "FAIL"
    said = (
        f"\nGRPO steps, forced length. Largest deviation from the median: **{scaling.deviation:.0%}**"
        f" (≤ {SCALING_CEILING:.0%}: {mark}), {scaling.rounds} rounds.\n"
    )
    return "\n".join([head, line, costs, said])
