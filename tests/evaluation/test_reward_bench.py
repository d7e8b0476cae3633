"""RewardBench 2's arithmetic by hand: best of four, ties, subsets, and completions without a score."""

import json
import math

import pytest

from critica.evaluation.reward_bench import (
    BadItems,
    bench_source,
    best_of_score,
    read_items,
    ties_score,
)
from critica.records.supervision import Abstained, Scale, Scored, Verdict
from critica.rewards.base import VerdictSource


class Lengths(VerdictSource):
    """Worth the number of characters; `?` is not judged."""

    name = "lengths"
    scales = (Scale("lengths", 0.0, 100.0),)

    def judge(self, items):
        return [Verdict((Abstained("asked"),) if "?" in item.text else (Scored(float(len(item.text))),))
                for item in items]  # fmt: skip


def test_best_of_four_shares_a_tie():
    assert best_of_score([2.0], [1.0, 0.0, 1.5]) == 1.0
    assert best_of_score([1.0], [2.0, 0.0, 0.0]) == 0.0
    assert best_of_score([1.0], [1.0, 1.0, 1.0]) == 0.25
    assert best_of_score([1.0], [1.0, 0.0, 0.0]) == 0.5
    assert best_of_score([-math.inf], [-math.inf] * 3) == 0.0


def test_ties_by_hand():
    """k = 1: tied gap .5, spread .25, ref gap 1; k = 2: tied gap -1 (inaccurate), spread 2, ref gap .5."""
    items = {
        "tied:1": ([2.0, 2.25], [1.5, 0.0]), "ref:1": ([3.0], [2.0]),
        "tied:2": ([1.0, 3.0], [2.0]), "ref:2": ([0.5], [0.0]),
    }  # fmt: skip
    last = (math.tanh(0.5 / 0.25 - 1) + math.tanh(-1.0 / 2.0 - 1)) / 2
    expected = 0.3 * 0.5 + 0.3 * 1.0 + 0.2 * 0.5 + 0.2 * 0.5 + 0.01 * last
    assert ties_score(items) == pytest.approx(expected)
    best = {"tied:1": ([2.0, 2.0], [1.0]), "ref:1": ([3.0], [2.0])}
    assert ties_score(best) == pytest.approx(1.01)
    level = {"tied:1": ([2.0, 2.0], [2.0]), "ref:1": ([3.0], [2.0])}
    assert ties_score(level) == pytest.approx(0.3 + 0.01 * math.tanh(-1))
    missing = {"tied:1": ([2.0, -math.inf], [1.0]), "ref:1": ([3.0], [2.0])}
    assert ties_score(missing) == pytest.approx(0.3 - 0.01)
    with pytest.raises(BadItems, match="alone: 2"):
        ties_score({**best, "tied:2": ([1.0], [0.0])})


def test_subsets_count_alike_and_a_missing_score_loses(tmp_path):
    rows = [
        {"id": "1", "subset": "Math", "prompt": "p", "chosen": ["aaa"], "rejected": ["a", "b", "cc"]},
        {"id": "2", "subset": "Math", "prompt": "p", "chosen": ["a"], "rejected": ["b", "c", "d"]},
        {"id": "3", "subset": "Math", "prompt": "p", "chosen": ["a?????"], "rejected": ["b", "c", "d"]},
        {"id": "4", "subset": "Safety", "prompt": [{"role": "user", "content": "p"}], "chosen": ["aa"],
         "rejected": ["?", "?", "b"]},
    ]  # fmt: skip
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    report = bench_source(Lengths(), read_items(path))
    math_subset, safety = report.subsets
    assert math_subset.score == pytest.approx(1.25 / 3) and math_subset.missing == 1 and math_subset.items == 3
    assert safety.score == 1.0 and safety.missing == 2 and report.score == pytest.approx((1.25 / 3 + 1) / 2)
    path.write_text(json.dumps(rows[0] | {"rejected": "a"}))
    with pytest.raises(BadItems, match="line 1: chosen and rejected are lists"):
        read_items(path)
    path.write_text(json.dumps(rows[0] | {"subset": "Ties"}))
    with pytest.raises(BadItems, match="ref:K or tied:K"):
        read_items(path)
