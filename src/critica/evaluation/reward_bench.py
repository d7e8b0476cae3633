"""A source of rewards measured as RewardBench 2 does: does the right completion get the highest score?"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from critica.evaluation.intervals import share_interval
from critica.records.outcome import Interval
from critica.records.supervision import Scored
from critica.records.words import Message, Role, Task
from critica.rewards.base import RewardSource, ScoreRequest, verdicts_of

TIES = "Ties"
TIED_WEIGHT, GAP_WEIGHT, MARGIN_WEIGHT = 0.30, 0.20, 0.01


class BadItems(ValueError):
    """A file of items cannot be read; the text says which line and what to write."""


@dataclass(frozen=True, slots=True)
class BenchItem:
    """A prompt with right and wrong completions. In the subset Ties the id is `ref:k` or `tied:k`."""

    item_id: str
    subset: str
    prompt: tuple[Message, ...]
    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubsetScore:
    """One subset; `interval` over items, NaN for Ties, whose score is no mean over items. `missing` had no score."""

    name: str
    items: int
    score: float
    interval: Interval
    missing: int


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All subsets, and their plain mean: each counts alike however many items it has."""

    subsets: tuple[SubsetScore, ...]

    @property
    def score(self) -> float:
        """The final score."""
        return fmean(subset.score for subset in self.subsets)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"score": self.score, "subsets": [asdict(subset) for subset in self.subsets]}


def read_items(path: Path) -> tuple[BenchItem, ...]:
    """JSONL of {"id", "subset", "prompt", "chosen": [...], "rejected": [...]}, texts. Raises `BadItems`."""
    items = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip():
            try:
                items.append(_item(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                what = f"{error} is missing" if isinstance(error, KeyError) else error
                raise BadItems(f"{path}, line {number}: {what}") from error
    if not items:
        raise BadItems(f"{path} holds no items: write one JSON object per line")
    return tuple(items)


def _item(line: Mapping[str, Any]) -> BenchItem:
    said = line["prompt"]
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    prompt = tuple(Message(cast(Role, one["role"]), str(one["content"])) for one in messages)
    right, wrong = tuple(line["chosen"]), tuple(line["rejected"])
    if isinstance(line["chosen"], str) or isinstance(line["rejected"], str) or not right or not wrong:
        raise ValueError("chosen and rejected are lists of texts, neither of them empty")
    if line["subset"] == TIES and str(line["id"]).partition(":")[0] not in ("ref", "tied"):
        raise ValueError(f"the id of an item of {TIES} is ref:K or tied:K, not {line['id']!r}")
    return BenchItem(str(line["id"]), str(line["subset"]), prompt, right, wrong)


def bench_source(source: RewardSource, items: Sequence[BenchItem]) -> BenchReport:
    """Score every completion once, all objectives added up, and count.

    A completion without a score (failed, abstained) is below every other: a right one then loses its item, and is
    counted as missing. The source is asked about all completions of all items at once, each item a group.
    """
    requests = [
        ScoreRequest(Task(f"{item.subset}/{item.item_id}", "reward_bench", item.prompt, ""), f"{n}/{k}", text, str(n))
        for n, item in enumerate(items)
        for k, text in enumerate((*item.right, *item.wrong))
    ]
    totals = iter([verdict.total for verdict in verdicts_of(source, requests)])
    told: list[tuple[list[float], list[float], int]] = []
    for item in items:
        outcomes = [next(totals) for _ in (*item.right, *item.wrong)]
        scores = [outcome.value if isinstance(outcome, Scored) else -math.inf for outcome in outcomes]
        missing = sum(not isinstance(outcome, Scored) for outcome in outcomes)
        told.append((scores[: len(item.right)], scores[len(item.right) :], missing))
    return report_of(items, told)


def report_of(items: Sequence[BenchItem], told: Sequence[tuple[list[float], list[float], int]]) -> BenchReport:
    """The report of scores of (right, wrong) completions, item by item."""
    subsets: dict[str, list[int]] = {}
    for n, item in enumerate(items):
        subsets.setdefault(item.subset, []).append(n)
    made = []
    for name, rows in subsets.items():
        missing = sum(told[n][2] for n in rows)
        if name == TIES:
            by_id = {items[n].item_id: (told[n][0], told[n][1]) for n in rows}
            score, interval = ties_score(by_id), Interval(math.nan, math.nan, math.nan, "none: no mean over items")
        else:
            shares = [best_of_score(told[n][0], told[n][1]) for n in rows]
            score, interval = fmean(shares), share_interval(shares)
        made.append(SubsetScore(name, len(rows), score, interval, missing))
    return BenchReport(tuple(made))


def best_of_score(right: Sequence[float], wrong: Sequence[float]) -> float:
    """1 / (completions that share the highest score) if a right one has it, else 0: a constant scorer gets 1/4 of 4.

    Source: RewardBench 2 (arXiv 2506.01937, allenai/reward-bench), with one right completion. With several right ones
    among the highest it is their share.
    """
    best = max(*right, *wrong)
    if best == -math.inf:
        return 0.0
    winners = sum(score == best for score in right)
    return winners / (winners + sum(score == best for score in wrong))


def ties_score(items: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> float:
    """The Ties subset: prompts with many right answers (`tied:k`), each beside its one with a single one (`ref:k`).

    .30 tied accuracy + .30 ref accuracy + .20 mean[gap_tied > spread] + .20 mean[min(gap_ref, gap_tied) > spread]
    + .01 mean tanh(min(gap_ref, gap_tied) / spread - 1); accurate: min(right) > max(wrong); spread = max - min of the
    tied right ones, gap = min(right) - max(wrong). Where the spread is 0 the last term is the limit, +-1 or tanh(-1)
    for a gap of 0. The most is 1.01, as in the code. Raises `BadItems` for a `tied:k` without its `ref:k`.
    """
    tied = {name.partition(":")[2]: scores for name, scores in items.items() if name.startswith("tied:")}
    single = {name.partition(":")[2]: scores for name, scores in items.items() if name.startswith("ref:")}
    if set(tied) != set(single) or not tied:
        odd = sorted(set(tied) ^ set(single))
        raise BadItems(f"every tied:K needs its ref:K; alone: {', '.join(odd) or 'there are none at all'}")
    gaps = {k: (_gap(single[k]), _gap(tied[k])) for k in tied}
    spreads = {k: _spread(tied[k][0]) for k in tied}
    least = {k: min(gaps[k]) for k in tied}
    return (
        TIED_WEIGHT * fmean(gaps[k][1] > 0 for k in tied)
        + TIED_WEIGHT * fmean(gaps[k][0] > 0 for k in tied)
        + GAP_WEIGHT * fmean(gaps[k][1] > spreads[k] for k in tied)
        + GAP_WEIGHT * fmean(least[k] > spreads[k] for k in tied)
        + MARGIN_WEIGHT * fmean(math.tanh(_ratio(least[k], spreads[k]) - 1) for k in tied)
    )


def _gap(scores: tuple[Sequence[float], Sequence[float]]) -> float:
    return min(scores[0]) - max(scores[1]) if min(scores[0]) > -math.inf else -math.inf


def _spread(right: Sequence[float]) -> float:
    return max(right) - min(right) if min(right) > -math.inf else math.inf


def _ratio(gap: float, spread: float) -> float:
    if spread > 0 and math.isfinite(gap):
        return gap / spread
    return 0.0 if gap == 0 else math.copysign(math.inf, gap)
