"""Held-out accuracy: a scripted policy whose every answer is known, intervals and pass@k by hand."""

import json
import math
from dataclasses import replace
from itertools import combinations

import pytest

from critica.environments.base import Environment
from critica.evaluation.compare import compare, over_seeds
from critica.evaluation.outcome import evaluate_policy
from critica.policies.base import Sample, SampleLimits, SampleRequest
from critica.records.checks import RecordError
from critica.records.outcome import NamedReport, OutcomeReport, RunResult
from critica.records.words import Message, StopReason, Task


class Numbers(Environment):
    """Task i asks for i; two sources."""

    def __init__(self) -> None:
        self.name, self.seed, self.max_new_tokens = "numbers", 0, 5

    def candidate(self, index: int) -> Task:
        return Task(
            f"n{index}", "numbers", (Message("user", f"number {index}"),), str(index), {"dataset": "ab"[index % 2]}
        )

    def score(self, task: Task, text: str) -> float:
        return 1.0 if text == task.answer else 0.5  # partial credit is no right answer


class Scripted:
    """Writes the right number for as many of a task's samples as `right` says, then END (token 0)."""

    version = 3

    def __init__(self, right: dict[int, int]) -> None:
        self.right = right
        self.seen: list[SampleRequest] = []
        self.limits: list[SampleLimits] = []

    def encode(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        return (int(messages[0].content.split()[1]),)

    def decode_text(self, token_ids: tuple[int, ...]) -> str:
        assert 0 not in token_ids, "the end-of-text token is no part of the answer"
        return "".join(str(token - 1) for token in token_ids)

    def sample(self, requests: list[SampleRequest], limits: SampleLimits, seed: int) -> list[list[Sample]]:
        self.seen += requests
        self.limits.append(limits)
        return [
            [
                Sample((request.prompt_ids[0] + (1 if i < self.right[request.prompt_ids[0]] else 2), 0),
                       (-1.0, -1.0), StopReason.END_OF_TEXT)
                for i in range(len(request.streams))
            ]
            for request in requests
        ]  # fmt: skip


def held_out(count: int) -> list[int]:
    return [int(task.answer) for task in Numbers().held_out(count)]


def report(rights: list[int], samples: int, temperature: float = 1.0, **changes: object) -> OutcomeReport:
    right = dict(zip(held_out(len(rights)), rights, strict=True))
    policy = Scripted(right)
    policy.version = int(changes.pop("version", 3))
    return evaluate_policy(policy, Numbers(), len(rights), samples, temperature, **changes)


def test_accuracy_pass_at_k_and_lengths_by_hand() -> None:
    found = report([0, 1, 2, 4], samples=4)
    assert found.accuracy.estimate == pytest.approx((0 + 1 / 4 + 2 / 4 + 1) / 4)
    by_k = {item.k: item.interval.estimate for item in found.pass_at_k}
    assert sorted(by_k) == [1, 2, 4]
    for k in by_k:  # the chance that k of the 4 samples drawn without replacement hold a right one, counted out
        draws = list(combinations(range(4), k))
        hits = [sum(any(i < right for i in draw) for draw in draws) / len(draws) for right in (0, 1, 2, 4)]
        assert by_k[k] == pytest.approx(sum(hits) / 4)
    assert by_k[4] == pytest.approx(3 / 4)
    assert found.mean_tokens == 2.0 and found.limit_share == 0.0 and found.unscored == 0
    assert found.policy_version == 3 and found.max_new_tokens == 5


def test_one_sample_gets_the_wilson_interval() -> None:
    found = report([1] * 6 + [0] * 4, samples=1, temperature=0.0)
    assert found.how == "greedy"
    assert found.accuracy.method == "wilson over prompts"
    # Wilson, n = 10, p = .6, z = 1.959964: center (.6 + .19207)/(1.38415), half width .26110
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((0.3127, 0.8318), abs=1e-4)


def test_the_interval_is_over_prompts_not_samples() -> None:
    many, few = report([8, 0] * 8, samples=8), report([1, 0] * 8, samples=1)
    assert many.accuracy.low == few.accuracy.low  # eight equal answers to a prompt say no more than one
    mixed = report([3, 5] * 8, samples=8)
    assert mixed.accuracy.method == "bootstrap over prompts"
    assert 0.375 < mixed.accuracy.low < 0.5 < mixed.accuracy.high < 0.625


def test_accuracy_by_source() -> None:
    numbers = held_out(12)
    found = report([number % 2 for number in numbers], samples=1)
    assert {item.source: item.interval.estimate for item in found.sources} == {"a": 0.0, "b": 1.0}
    assert sum(item.prompts for item in found.sources) == 12


def test_an_answer_without_a_score_is_unscored_not_wrong() -> None:
    numbers = held_out(4)

    def score(task: Task, text: str) -> float | None:
        return {numbers[0]: None, numbers[1]: math.nan}.get(int(task.answer), 1.0)

    found = report([1] * 4, samples=2, score=score)
    assert found.unscored == 4
    assert found.accuracy.estimate == 1.0
    with pytest.raises(ValueError, match="scorer failed every time"):
        report([1] * 4, samples=2, score=lambda task, text: None)


def test_the_dice_belong_to_the_task() -> None:
    few, many = Scripted(dict.fromkeys(held_out(9), 0)), Scripted(dict.fromkeys(held_out(9), 0))
    evaluate_policy(few, Numbers(), 3, 2)
    evaluate_policy(many, Numbers(), 9, 2, prompts_per_batch=2)
    streams = {request.prompt_ids: request.streams for request in many.seen}
    assert all(streams[request.prompt_ids] == request.streams for request in few.seen)
    assert len({stream for row in streams.values() for stream in row}) == 18


def test_wrong_requests_are_refused() -> None:
    for arguments, words in (((0, 1, 1.0), "at least 1"), ((2, 2, 0.0), "greedy"), ((2, 1, -1.0), "negative")):
        with pytest.raises(ValueError, match=words):
            evaluate_policy(Scripted({}), Numbers(), *arguments)


def test_the_report_survives_json() -> None:
    found = report([0, 1, 2], samples=2)
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["how"] == "at temperature 1"
    assert OutcomeReport.from_json(content) == found


def result(name: str, seed: int, *reports: tuple[str, OutcomeReport], recipe: str = "dvpo") -> RunResult:
    return RunResult(name, recipe, seed, "none", tuple(NamedReport(*item) for item in reports), ())


def test_differences_are_later_minus_first_in_pairs() -> None:
    before = report([0, 0, 1, 1] * 5, samples=1, version=0)
    after = report([0, 1, 1, 1] * 5, samples=1, version=9)
    (gain,) = compare([result("run", 1, ("before", before), ("after", after))]).differences
    assert (gain.before, gain.after, gain.prompts) == ("run:before", "run:after", 20)
    assert gain.interval.estimate == pytest.approx(0.25) and gain.interval.excludes_zero
    # pairing: no prompt got worse, so the interval cannot reach below 0, which unpaired intervals do
    assert gain.interval.low > 0 > after.accuracy.low - before.accuracy.high


def test_runs_are_compared_with_the_first_and_what_cannot_be_paired_is_said() -> None:
    one, two = report([0, 1, 1, 0], samples=1), report([1, 1, 0, 0], samples=1)
    greedy = report([1, 1, 1, 1], samples=1, temperature=0.0)
    found = compare(
        [
            result("a", 1, ("after", one), ("greedy", greedy)),
            result("b", 2, ("after", two), ("greedy", two)),
            result("c", 3),
        ]
    )
    assert [(d.before, d.after, d.interval.estimate) for d in found.differences] == [("a:after", "b:after", 0.0)]
    assert any("greedy of b is at temperature 1, not greedy" in note for note in found.notes)
    assert any("c has no evaluation" in note for note in found.notes)
    json.dumps(found.to_json(), allow_nan=False)


def test_seeds_of_one_recipe_are_averaged_over_runs() -> None:
    reports = [report([1] * right + [0] * (10 - right), samples=1) for right in (4, 5, 9)]
    rows = compare([result("run", seed, ("after", r)) for seed, r in enumerate(reports)]).rows
    assert [row.run for row in rows] == ["run#1", "run#2", "run#3"]
    (seeds,) = over_seeds(rows)
    assert seeds.accuracy.estimate == pytest.approx(0.6) and seeds.seeds == (0, 1, 2)
    half = 4.302653 * math.sqrt(0.07) / math.sqrt(3)  # t(.975, 2 degrees); variance (.04 + .01 + .09)/2
    assert seeds.accuracy.high - 0.6 == pytest.approx(half, abs=1e-5)
    assert over_seeds([rows[0], replace(rows[1], recipe="ppo")]) == ()


def test_a_greedy_accuracy_never_meets_a_sampled_one() -> None:
    from critica.evaluation.intervals import difference

    with pytest.raises(RecordError, match="greedy cannot be compared with at temperature 1"):
        difference(report([1], 1, 0.0), report([1], 1), ("x", "y"))
