"""Which tasks improved: held-out prompts by their first and last evaluation, task sources, prompts asked twice."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from critica.records.outcome import Difference, NamedReport
from critica.store.run_folder import StepMetrics
from critica.viewer.window import Row, ends, mean_of

PROMPTS_SHOWN = 12  # of those that rose, and of those that fell
FAMILY = "accuracy/source/"


@dataclass(frozen=True, slots=True)
class PromptChange:
    """One prompt's share of right answers in each evaluation, first to last (NaN: not scored)."""

    task_id: str
    source: str
    prompt: str
    shares: tuple[float, ...]

    @property
    def change(self) -> float:
        """Last - first."""
        return self.shares[-1] - self.shares[0]


@dataclass(frozen=True, slots=True)
class HeldOutChange:
    """One way of decoding: how many prompts rose, fell and stayed; the largest changes; accuracy by source."""

    how: str
    evaluations: tuple[str, ...]
    better: int
    worse: int
    same: int
    rose: tuple[PromptChange, ...]
    fell: tuple[PromptChange, ...]
    sources: tuple[tuple[str, float, float, int], ...]


@dataclass(frozen=True, slots=True)
class SampledChange:
    """Sampled accuracy of one task source, or of prompts asked at both ends of the run: mean at the run's two ends."""

    name: str
    first: float
    last: float


def held_out_changes(reports: Sequence[NamedReport], gains: Sequence[Difference]) -> tuple[HeldOutChange, ...]:
    """For each way of decoding that was measured with two policies or more."""
    by_name = {item.name: item.report for item in reports}
    found = []
    for gain in gains:
        last = by_name[gain.after]
        way = [item for item in reports if (item.report.how, item.report.environment) == (gain.how, last.environment)]
        way = list({item.report.policy_version: item for item in sorted(way, key=lambda x: x.name, reverse=True)}.values())  # fmt: skip  # noqa: E501
        way.sort(key=lambda item: item.report.policy_version)
        shares = [{prompt.task_id: prompt.share for prompt in item.report.prompts} for item in way]
        changes = [
            PromptChange(p.task_id, p.source, p.prompt, tuple(one.get(p.task_id, math.nan) for one in shares))
            for p in last.prompts
        ]
        known = [change for change in changes if not math.isnan(change.change)]
        rose = sorted((c for c in known if c.change > 0), key=lambda c: -c.change)
        fell = sorted((c for c in known if c.change < 0), key=lambda c: c.change)
        found.append(
            HeldOutChange(
                gain.how, tuple(f"policy {item.report.policy_version}" for item in way), len(rose), len(fell),
                len(known) - len(rose) - len(fell), tuple(rose[:PROMPTS_SHOWN]), tuple(fell[:PROMPTS_SHOWN]),
                _by_source(known),
            )
        )  # fmt: skip
    return tuple(found)


def sampled_changes(lines: Sequence[StepMetrics], first: Iterable[Row], last: Iterable[Row]) -> tuple[SampledChange, ...]:  # fmt: skip  # noqa: E501
    """By task source over the run's two ends, and over the prompts that both of these were asked."""
    begin, end = ends(lines)
    names = [name for name in dict.fromkeys(name for line in lines for name in line.values) if name.startswith(FAMILY)]
    found = [SampledChange(name.removeprefix(FAMILY), mean_of(begin, name), mean_of(end, name)) for name in names]
    before, after = _by_task(first), _by_task(last)
    both = [name for name in before if name in after] if len(lines) > 1 else []
    if both:
        shares = [math.fsum(one[name] for name in both) / len(both) for one in (before, after)]
        found.append(SampledChange(f"{len(both)} prompts that were asked in both", *shares))
    return tuple(found)


def tasks_sentence(held_out: Sequence[HeldOutChange], sampled: Sequence[SampledChange]) -> str:
    """Counts of held-out prompts if there are two evaluations; else the sources that moved most."""
    if held_out:
        said = [
            f"{way.better} of {way.better + way.worse + way.same} held-out prompts better, "
            f"{way.worse} worse ({way.how})"
            for way in held_out
        ]
        best = max((s for way in held_out for s in way.sources), key=lambda s: s[2] - s[1], default=None)
        if best is not None and len(held_out[0].sources) > 1:
            said.append(f"most: {best[0]}, {100 * best[1]:.0f}% → {100 * best[2]:.0f}%")
        return "; ".join(said) + "."
    if sampled:
        said = "; ".join(f"{one.name} {100 * one.first:.0f}% → {100 * one.last:.0f}%" for one in sampled[:4])
        return f"By what was sampled in training, as nothing was held out twice: {said}."
    return "Nothing was measured twice: set held_out.prompts, say to 200."


def _by_source(changes: Sequence[PromptChange]) -> tuple[tuple[str, float, float, int], ...]:
    sources: dict[str, list[PromptChange]] = {}
    for change in changes:
        sources.setdefault(change.source, []).append(change)
    rows = [
        (name, math.fsum(c.shares[0] for c in part) / len(part), math.fsum(c.shares[-1] for c in part) / len(part),
         len(part))
        for name, part in sources.items()
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: row[1] - row[2]))


def _by_task(rows: Iterable[Row]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.correct is not None:
            found.setdefault(row.task_id, []).append(float(row.correct))
    return {name: math.fsum(values) / len(values) for name, values in found.items()}
