"""Verifiers on edge cases, and public-style TRL reward functions run unchanged."""

import asyncio
import re

import pytest

from critica.environments.catalogue import parse_environment
from critica.environments.chain import Chain
from critica.environments.numbers import parse_number
from critica.records.supervision import Abstained, Failed, Outcome, Scored
from critica.records.words import Message, Task
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.catalogue import RewardProblem, parse_reward
from critica.rewards.functions import FunctionProblem
from critica.rewards.verifiers import EnvironmentScorer, Exact, Function, Numeric, RegexExtract
from critica.rewards.workers import WorkerLimits

LIMITS = WorkerLimits(workers=1, call_seconds=1.0)


def requests(answer: str, texts: list[str], **info) -> list[ScoreRequest]:
    task = Task("task", "none", (Message("system", "be brief"), Message("user", "what?")), answer, info)
    return [ScoreRequest(task, f"row{i}", text) for i, text in enumerate(texts)]


def judge(config: RewardConfig, asked: list[ScoreRequest]) -> list[Outcome]:
    with config.build(Chain(length=2).build(0), LIMITS) as source:
        return source.scores(asked)


def values(config: RewardConfig, answer: str, texts: list[str], **info) -> list[float]:
    return [outcome.value for outcome in judge(config, requests(answer, texts, **info))]


def test_exact() -> None:
    assert values(Exact(), "Yes", ["Yes", " Yes\n", "yes", "Yes.", ""]) == [1, 1, 0, 0, 0]
    assert values(Exact(ignore_case=True), "Yes", ["YES", "no"]) == [1, 0]


def test_numeric() -> None:
    texts = [
        "12.5",
        "is 25/2",
        "1,2 then 12.50",
        "12.5 no, 13",
        "-12.5",
        "none",
        "",
        "12.5000001",
        "1e999999999",
        "1/0",
        "1.25e1",
    ]
    assert values(Numeric(1e-6), "12.5", texts) == [1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1]
    assert values(Numeric(0.0), "12.5", ["12.5000001", "12.5"]) == [0, 1]
    assert values(Numeric(0.01), "1000", ["1,009", "1,011"]) == [1, 0]


def test_an_answer_that_is_no_number_is_a_failure_not_a_zero() -> None:
    (outcome,) = judge(Numeric(), requests("blue", ["blue"]))
    assert isinstance(outcome, Failed) and "'blue' is not a number" in outcome.error


@pytest.mark.parametrize(
    ("text", "number"), [("1,234.5", 1234.5), ("3/4", 0.75), ("-.5", -0.5), ("2.", 2.0), ("+7", 7.0)]
)
def test_numbers(text: str, number: float) -> None:
    assert parse_number(text) == number


def test_regex_takes_the_last_match_and_passes_it_on() -> None:
    boxed = RegexExtract(r"\\boxed\{([^}]*)\}", Numeric())
    assert values(boxed, "7", [r"\boxed{6} \boxed{7.0}", r"\boxed{7} \boxed{6}", "7", r"\boxed{}"]) == [1, 0, 0, 0]
    assert values(RegexExtract(r"[a-z]+$"), "end", ["the end", "end.", "END end"]) == [1, 0, 1]
    assert values(RegexExtract(r"(a)|b"), "a", ["a", "b"]) == [1, 0]


def test_a_runaway_regex_is_killed_and_fails_its_row_only() -> None:
    config = RegexExtract(r"(x+x+)+y")
    found = judge(config, requests("xx", ["xxy", "x" * 40]))
    assert found[0] == Scored(1.0) and isinstance(found[1], Failed) and "within 1 s" in found[1].error


@pytest.mark.parametrize("spec", ["rg:chain_sum", "two_branch", "arithmetic:2"])
def test_environment_scorers_run_in_workers(spec: str) -> None:
    environment = parse_environment(spec).build(1)
    tasks = environment.held_out(6)
    texts = [
        [task.answer or "".join(environment.game(task).winning * 99)[: task.info["length"]], "?", ""] for task in tasks
    ]
    asked = [ScoreRequest(task, f"{i}/{j}", text) for i, task in enumerate(tasks) for j, text in enumerate(texts[i])]
    with EnvironmentScorer().build(environment, LIMITS) as source:
        assert [outcome.value for outcome in source.scores(asked)] == [1, 0, 0] * 6
        assert (source.low, source.high) == (0.0, 1.0)


def test_partial_credit_only_on_request() -> None:
    environment = parse_environment("rg:chain_sum").build(1)
    task = environment.candidate(0)
    asked = [ScoreRequest(task, "row", f"The answer is {task.answer}")]
    for threshold, expected in ((None, environment.score(task, asked[0].text)), (0.01, 1.0)):
        with EnvironmentScorer(threshold).build(environment, LIMITS) as source:
            assert source.scores(asked)[0].value == pytest.approx(expected)


# Three functions in the style of public TRL reward code, unchanged by us.


def format_reward(completions, **kwargs):
    pattern = r"^<think>.*?</think>\s*<answer>.*?</answer>$"
    return [1.0 if re.match(pattern, content, re.DOTALL) else 0.0 for content in completions]


def accuracy_reward(prompts, completions, solution, **kwargs):
    return [None if gold is None else float(gold in text) for text, gold in zip(completions, solution, strict=True)]


async def conversational_length(prompts, completions, **kwargs):
    await asyncio.sleep(0)
    assert all(prompt[-1]["role"] == "user" for prompt in prompts)
    return [len(completion[0]["content"]) / 10 for completion in completions]


def test_trl_functions_run_unchanged() -> None:
    texts = ["<think>a</think> <answer>4</answer>", "4", "five"]
    assert values(Function(format_reward), "4", texts) == [1, 0, 0]
    assert values(Function(accuracy_reward), "4", texts, solution="4") == [1, 1, 0]
    assert values(Function(conversational_length, high=9.0, conversational=True), "4", texts) == pytest.approx(
        [3.5, 0.1, 0.4]
    )
    abstained = judge(Function(accuracy_reward), requests("4", texts, solution=None))
    assert all(isinstance(outcome, Abstained) for outcome in abstained)


def test_a_trl_function_sees_the_whole_batch_once() -> None:
    def rank(prompts, completions):
        return [sorted(completions).index(text) / len(completions) for text in completions]

    assert values(Function(rank), "4", ["c", "a", "b", "d"]) == [0.5, 0.0, 0.25, 0.75]


def test_a_missing_column_is_named_beside_those_there_are() -> None:
    (outcome,) = judge(Function(accuracy_reward), requests("4", ["4"], level=1))
    assert (
        isinstance(outcome, Failed)
        and "asks for solution" in outcome.error
        and "answer, completions, level" in outcome.error
    )


def test_own_signature_sees_the_task() -> None:
    async def mine(task, completion):
        return (task.prompt == "be brief\nwhat?") * task.info["weight"] * (completion == task.answer)

    assert values(Function(mine), "4", ["4", "5"], weight=0.5) == [0.5, 0.0]


def test_numpy_and_torch_numbers_are_numbers() -> None:
    import numpy as np

    def single(task, completion):
        return np.float32(0.5)

    def batch(completions, **kwargs):
        return np.array([0.25, 0.75])

    assert values(Function(single), "4", ["4"]) == [0.5]
    assert values(Function(batch), "4", ["4", "5"]) == [0.25, 0.75]


@pytest.mark.parametrize("function", [lambda: 1.0, lambda a: 1.0, lambda a, b, c: 1.0, lambda a, *, b: 1.0])
def test_functions_of_no_known_signature_are_refused_when_named(function) -> None:
    with pytest.raises(FunctionProblem, match="TRL"):
        Function(function)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RegexExtract("("), "not a regular expression"),
        (lambda: Numeric(-1.0), "0 or above"),
        (lambda: Function(format_reward, low=1.0, high=0.0), "not below"),
        (lambda: RegexExtract("a", EnvironmentScorer()), "extract on their own"),
    ],
)
def test_wrong_settings_teach(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_reward_specs() -> None:
    assert parse_reward("environment") == EnvironmentScorer() and parse_reward("environment:partial").threshold is None
    assert parse_reward("numeric:0.5") == Numeric(0.5) and parse_reward("exact") == Exact()
    assert parse_reward("regex:a:(b)") == RegexExtract("a:(b)") and parse_reward("my.py:f") == Function("my.py:f")
    for spec, words in (
        ("exakt", "'exact'"),
        ("numeric:x", "no tolerance"),
        ("regex:(", "not a regular"),
        ("my.py", "Known"),
    ):
        with pytest.raises(RewardProblem, match=words):
            parse_reward(spec)
