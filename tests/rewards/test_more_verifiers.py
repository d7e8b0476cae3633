"""Schemas, set overlap, confidence, constraints, forecasts and distractors: by hand, and missing is not zero."""

import math

import pytest

from critica.environments.chain import Chain
from critica.records.supervision import Abstained, Failed, Outcome, Scored
from critica.records.words import Message, Task
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.catalogue import PLAIN, RewardProblem, parse_reward
from critica.rewards.constraints import Constraints
from critica.rewards.distraction import Distraction
from critica.rewards.in_process import InProcessSource
from critica.rewards.json_schema import JsonSchema
from critica.rewards.math_verifiers import MathVerify, StrictMath
from critica.rewards.post_time import RelativeForecast
from critica.rewards.proper_scoring import ProperScoring
from critica.rewards.proper_scoring_check import brier_reward, log_reward
from critica.rewards.set_overlap import SetOverlap
from critica.rewards.verifiers import EnvironmentScorer, Exact, Numeric, WorkerSource
from critica.rewards.workers import WorkerLimits

LIMITS = WorkerLimits(workers=1, call_seconds=20.0)


def outcomes(config: RewardConfig, answer: str, texts: list[str], **info) -> list[Outcome]:
    task = Task("task", "none", (Message("user", "what?"),), answer, info)
    with config.build(Chain(length=2).build(0), LIMITS) as source:
        return source.scores([ScoreRequest(task, f"row{i}", text) for i, text in enumerate(texts)])


def values(config: RewardConfig, answer: str, texts: list[str], **info) -> list[float]:
    return [outcome.value for outcome in outcomes(config, answer, texts, **info)]


def test_both_math_checkers_in_workers() -> None:
    texts = [r"\boxed{0.5}", r"\boxed{2}", "", r"\boxed{\frac{1}{2}}"]
    assert values(StrictMath(), r"\frac12", texts) == values(MathVerify(), r"\frac12", texts) == [1, 0, 0, 1]
    assert values(MathVerify(), "7", ["<answer>7</answer>", "<answer>8</answer>"]) == [1, 0]


@pytest.mark.parametrize("config", [StrictMath(), MathVerify()])
def test_a_math_answer_that_cannot_be_read_is_a_failure(config: RewardConfig) -> None:
    (outcome,) = outcomes(config, "???", ["5"])
    assert isinstance(outcome, Failed) and "the task's own answer" in outcome.error


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"],
          "additionalProperties": False}  # fmt: skip


def test_json_schema(tmp_path) -> None:
    texts = ['Here: {"n": 3} and {"n": 0}', '{"n": 0} {"n": 3}', '{"n": 3', "none", '{"n": NaN}', '{"n": 1, "n": 2}',
             '{"m": 3}', '{} {"n": 3}', '```json\n{"n": 2}\n```']  # fmt: skip
    wanted = [1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert values(JsonSchema(), "", texts, schema=SCHEMA) == wanted
    file = tmp_path / "schema.json"
    file.write_text('{"required": ["n"]}')
    assert values(JsonSchema(str(file)), "", ['{"n": "x"}', '{"m": 1}']) == [1, 0]


@pytest.mark.parametrize(
    ("info", "words"),
    [({}, "no `schema`"), ({"schema": {"type": "nothing"}}, "the schema is none"), ({"schema": "[1]"}, "is an object"),
     ({"schema": {"$ref": "http://elsewhere.example/x.json"}}, "raised")],
)  # fmt: skip
def test_a_schema_that_is_none_is_a_failure(info: dict, words: str) -> None:
    (outcome,) = outcomes(JsonSchema(), "", ['{"n": 1}'], **info)
    assert isinstance(outcome, Failed) and words in outcome.error


def test_set_overlap() -> None:
    texts = ["[a, b]", '["b", "c", "d"]', "{B}", "[]", "x [c] then [ a , b ]"]
    assert values(SetOverlap(), "[a, b]", texts) == [1, 1 / 4, 1 / 2, 0, 1]
    assert values(SetOverlap(exact=True), "[a, b]", texts) == [1, 0, 0, 0, 1]
    assert values(SetOverlap(), "", ["[]", "[a]"], members=[]) == [1, 0]
    assert values(SetOverlap(weighted=True), "[a]", ["[a, b]"], reward_weight=0.5) == [0.25]


def test_a_set_that_is_not_there_is_missing_or_zero() -> None:
    assert isinstance(outcomes(SetOverlap(), "[a]", ["a"])[0], Abstained)
    assert values(SetOverlap(unparsed="zero"), "[a]", ["a"]) == [0]
    assert isinstance(outcomes(SetOverlap(), "a", ["[a]"])[0], Failed)
    assert isinstance(outcomes(SetOverlap(weighted=True), "[a]", ["[a]"])[0], Failed)


def test_confidence_is_paid_as_published() -> None:
    assert log_reward(1.0, True) == pytest.approx(12.5) and log_reward(1.0, False) == pytest.approx(-10.0, abs=0.01)
    assert log_reward(0.0, False) == pytest.approx(10.0) and log_reward(0.0, True) == pytest.approx(-7.5, abs=0.01)
    assert [brier_reward(1.0, True), brier_reward(1.0, False), brier_reward(0.5, True)] == [1.0, -1.0, 0.75]


@pytest.mark.parametrize("chance", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("rule", [log_reward, brier_reward])
def test_honesty_pays_best(rule, chance: float) -> None:
    def expected(stated: float) -> float:
        return chance * rule(stated, True) + (1 - chance) * rule(stated, False)

    assert max(range(11), key=lambda c: expected(c / 10)) == round(10 * chance)
    fine = [k / 1000 for k in range(1, 1000)]
    assert max(fine, key=expected) == pytest.approx(chance)


def test_stated_confidence_around_another_verifier() -> None:
    texts = [
        "12\nConfidence: 10",
        "Confidence: 10\n13",
        "12",
        "12 Confidence: 11",
        "13, confidence = 0",
        "confidence: 2 12 Confidence: 7",
    ]
    found = values(ProperScoring(then=Numeric()), "12", texts)
    wanted = [log_reward(1.0, True), log_reward(1.0, False), -30, -30, log_reward(0.0, False)]
    assert found[:5] == pytest.approx(wanted) and found[5] == pytest.approx(log_reward(0.7, True))
    brier = values(ProperScoring("brier", Numeric()), "12", ["12 Confidence: 8", "13 Confidence: 8", "12"])
    assert brier == pytest.approx([1 - 0.04, -0.64, -1.0])
    assert isinstance(outcomes(ProperScoring(then=Numeric()), "blue", ["1 Confidence: 3"])[0], Failed)
    assert isinstance(outcomes(ProperScoring(then=SetOverlap()), "[a]", ["a Confidence: 3"])[0], Abstained)


def test_the_environment_may_decide_what_is_right() -> None:
    environment = Chain(length=2).build(0)
    task = environment.candidate(0)
    right = environment.game(task).pattern
    wrong = right.translate(str.maketrans("01", "10"))
    asked = [ScoreRequest(task, f"row{i}", f"{bits} Confidence: 10") for i, bits in enumerate((right, wrong))]
    with ProperScoring(then=EnvironmentScorer()).build(environment, LIMITS) as source:
        assert [outcome.value for outcome in source.scores(asked)] == pytest.approx([12.5, -10.0], abs=0.01)
        assert source.low == -30.0 and source.high == pytest.approx(12.5)


RULES = [["Content", "Keywords", "Must include the keyword 'sea'"], ["Length", "Words", "At most 4 words"],
         ["Content", "Keywords", "rhyme in the third line"]]  # fmt: skip


def test_constraints_count_share_and_all() -> None:
    texts = ["the SEA", "the sea is wide and blue", "a", "<think>one two three four five</think> sea"]
    assert values(Constraints(), "", texts, constraints=RULES) == [2, 1, 1, 2]
    assert values(Constraints("share"), "", texts, constraints=RULES) == [1, 0.5, 0.5, 1]
    found = outcomes(Constraints("all"), "", texts, constraints=RULES)
    assert isinstance(found[0], Abstained) and "cannot read 1 of its 3" in found[0].reason  # unknown, not failed
    assert found[1] == found[2] == Scored(0.0)
    assert values(Constraints("all"), "", texts, constraints=RULES[:2]) == [1, 0, 0, 1]
    assert isinstance(outcomes(Constraints(), "", ["a"], constraints=RULES[2:])[0], Abstained)


def test_a_task_without_usable_constraints_is_a_failure() -> None:
    for info in ({}, {"constraints": []}, {"constraints": [["a", "b"]]}, {"constraints": RULES * 6}):
        assert isinstance(outcomes(Constraints(), "", ["a"], **info)[0], Failed)


def test_forecasts_are_paid_for_what_they_add() -> None:
    config = RelativeForecast(epsilon=1e-9)
    texts = ["[10, 20]", "[12, 18]", "so [11, 19]", "[14, 16]", "[1, 2, 3]", "[a, b]", "none", "[1e3, 5]"]
    found = values(config, "", texts, prior=[12, 18], truth=[10, 20])
    assert found == pytest.approx([1.1, 0.1, 0.6, -0.9, -1, -1, -1, -0.9])
    assert values(config, "", ["I say 3", "5"], prior=5, truth=1) == pytest.approx([0.6, 0.1])
    assert isinstance(outcomes(config, "", ["3"], prior=[1], truth=[1, 2])[0], Failed)
    assert isinstance(outcomes(config, "", ["3"], prior=[1])[0], Failed)


def test_a_distractor_that_was_executed_pays_nothing() -> None:
    planted = [{"detector": "contains", "value": "HACKED"}, {"detector": "matches", "value": r"\bpoem\b"},
               {"detector": "constraint", "value": ["Language", "English", "all uppercase letters"]}]  # fmt: skip
    texts = ["The answer is 4", "hacked: 4", "a poem and 4", "THE ANSWER IS 4", "The answer is 5"]
    assert values(Distraction(Numeric()), "4", texts, distractors=planted) == [1, 0, 0, 0, 0]
    assert values(Distraction(Numeric()), "4", ["4"], distractors=[]) == [1]
    for bad in (None, [{"detector": "guess", "value": 1}], [{"detector": "constraint", "value": ["a", "b", "c"]}]):
        assert isinstance(outcomes(Distraction(Numeric()), "4", ["4"], distractors=bad)[0], Failed)


def test_bounded_rules_run_here_and_others_in_workers() -> None:
    environment = Chain(length=2).build(0)
    for config, settings, kind in (
        (Exact(), LIMITS, InProcessSource),
        (Numeric(), LIMITS, InProcessSource),
        (Exact(), WorkerLimits(workers=1, in_process=False), WorkerSource),
        (StrictMath(), LIMITS, WorkerSource),
    ):
        with config.build(environment, settings) as source:
            assert type(source) is kind


def test_in_process_and_in_workers_say_the_same() -> None:
    environment = Chain(length=2).build(0)
    texts = ["12", "", "4 or 12", "x = 12", "1,2", "−12", "12.0000001"]
    for answer in ("12", "blue"):
        task = Task("task", "none", (Message("user", "?"),), answer, {})
        asked = [ScoreRequest(task, f"row{i}", text) for i, text in enumerate(texts)]
        found = []
        for here in (True, False):
            with Numeric().build(environment, WorkerLimits(workers=1, in_process=here)) as source:
                found.append(source.scores(asked))
        assert found[0] == found[1]


def test_the_deadline_of_a_batch_holds_in_this_process() -> None:
    task = Task("task", "none", (Message("user", "?"),), "1", {})
    source = Exact().build(Chain(length=2).build(0), WorkerLimits(batch_seconds=1e-9))
    (outcome,) = source.scores([ScoreRequest(task, "row", "1")])
    assert isinstance(outcome, Failed) and "when the batch's 1e-09 s were over" in outcome.error


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ProperScoring(malformed=0.0), "stating nothing would pay"),
        (lambda: ProperScoring(then=ProperScoring()), "name another verifier"),
        (lambda: ProperScoring(pattern="a"), "a group"),
        (lambda: RelativeForecast(unparsed=0.0), "stating none would pay"),
        (lambda: Constraints(most=0), "at least 1"),
    ],
)
def test_wrong_settings_teach(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_specs() -> None:
    assert all(parse_reward(spec) == make() for spec, make in PLAIN.items())
    assert parse_reward("doubt:brier:numeric") == ProperScoring("brier", Numeric())
    assert parse_reward("distraction:regex:(a)").then.pattern == "(a)" and parse_reward("math:strict") == StrictMath()
    for spec, words in (("maths", "'math'"), ("doubt:log:distraction", "decides nothing"),
    ("doubt:log:my.py:f", "no verifier"),
                        ("constraint", "'constraints'"), ("numeric:x", "no tolerance")):  # fmt: skip
        with pytest.raises(RewardProblem, match=words):
            parse_reward(spec)
    assert math.isclose(ProperScoring().value_range[1], 12.5)
