"""The seeds bench's table: accuracy before and after, gains with t-intervals over seeds, and every seed by itself."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from critica.functional.statistics import Interval as SeedInterval
from critica.functional.statistics import mean_interval
from critica.records.outcome import Interval

WAYS = ("temperature 1", "greedy")
GAIN_FLOOR = 0.15


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One run: accuracies in the order of `WAYS`, and their paired gains with intervals over prompts."""

    system: str
    noise: str
    seed: int
    prompts: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    gains: tuple[Interval, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A system over its seeds: mean accuracies, and each gain with Student's interval over seeds."""

    system: str
    noise: str
    seeds: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    gains: tuple[SeedInterval, ...]
    seconds: float


def summaries(results: Sequence[SeedResult]) -> list[Summary]:
    """One for each system, in the order of its first run."""
    found = []
    for name in dict.fromkeys(result.system for result in results):
        runs = [result for result in results if result.system == name]
        count, ways = len(runs), range(len(WAYS))
        found.append(
            Summary(
                system=name,
                noise=runs[0].noise,
                seeds=count,
                before=tuple(sum(run.before[way] for run in runs) / count for way in ways),
                after=tuple(sum(run.after[way] for run in runs) / count for way in ways),
                gains=tuple(mean_interval([run.after[way] - run.before[way] for run in runs]) for way in ways),
                seconds=sum(run.seconds for run in runs) / count,
            )
        )
    return found


def seeds_table(machine: Mapping[str, Any], jobs: int, results: Sequence[SeedResult]) -> str:
    """The whole page."""
    found = summaries(results)
    prompts = ", ".join(f"{count:,}" for count in sorted({result.prompts for result in results}))
    parts = [
        "# Seeds\n",
        "Made by `critica bench seeds`; every number is in seeds.json.\n",
        f"{machine['processor']}, {machine['cores']} cores; {jobs} run(s) at a time on {machine['threads']} threads;"
        f" torch {machine['versions']['torch']}; commit {machine['commit']}.\n",
        f"Accuracy (exact match) on {prompts} held-out prompts, the same for all runs, in points. All systems start"
        " from pico and make the demo's steps on the demo's tasks with its optimizers; `grpo` and `ppo` differ from"
        " `dvpo` in method alone. Gains of a system: mean over seeds with Student's 95% interval. Gains of a seed:"
        " paired bootstrap over prompts.\n",
        *(f"- {line}" for line in verdict_lines(found)),
        "",
        _system_rows(found),
        "## Every seed\n",
        _seed_rows(results),
    ]
    return "\n".join(parts)


def verdict_lines(found: Sequence[Summary]) -> list[str]:
    """What was promised of the demo and of its control, and whether it came true."""
    lines = []
    for summary in found:
        sampled, greedy = summary.gains
        if summary.system == "dvpo":
            kept = sampled.estimate >= GAIN_FLOOR
            lines.append(f"dvpo gains at least 15 points at temperature 1: {'pass' if kept else 'FAIL'}")
            lines.append(f"dvpo's greedy gain excludes 0: {'pass' if greedy.low > 0 else 'FAIL'}")
        if summary.system == "dvpo-control":
            lines.append(f"the control shows no greedy gain: {'pass' if greedy.low <= 0 else 'FAIL'}")
    return lines


def _system_rows(found: Sequence[Summary]) -> str:
    head = "| system | noise | seeds | " + " | ".join(f"{way}: before | after | gain" for way in WAYS)
    lines = [f"{head} | wall s |", "|---" * 10 + "|"]
    for item in found:
        cells = [
            f"{_points(item.before[way])} | {_points(item.after[way])} | {_gain(item.gains[way])}"
            for way in range(len(WAYS))
        ]
        lines.append(f"| {item.system} | {item.noise} | {item.seeds} | {' | '.join(cells)} | {item.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def _seed_rows(results: Sequence[SeedResult]) -> str:
    head = "| system | seed | " + " | ".join(f"{way}: before | after | gain" for way in WAYS)
    lines = [f"{head} | wall s |", "|---" * 9 + "|"]
    for item in results:
        cells = [
            f"{_points(item.before[way])} | {_points(item.after[way])} | {_gain(item.gains[way])}"
            for way in range(len(WAYS))
        ]
        lines.append(f"| {item.system} | {item.seed} | {' | '.join(cells)} | {item.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _gain(interval: SeedInterval | Interval) -> str:
    if not math.isfinite(interval.low):
        return f"{100 * interval.estimate:+.1f}"
    return f"{100 * interval.estimate:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
