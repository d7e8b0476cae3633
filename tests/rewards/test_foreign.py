"""Other libraries' reward functions: told apart by signature, run unchanged, read as their library reads them."""

from pathlib import Path

import pytest

from critica.environments.chain import Chain
from critica.records.supervision import Abstained, Failed
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.foreign import kind_of
from critica.rewards.functions import FunctionProblem, function_judge
from critica.rewards.verifiers import Function
from critica.rewards.workers import WorkerLimits
from rewards import foreign_functions as them

FILE = Path(them.__file__)
LIMITS = WorkerLimits(workers=1, call_seconds=20.0)
INFO = {"level": 3, "solution": "8", "kind": "math", "data_source": "gsm"}


def outcomes(name, texts, answer="8", prompt="4", info=INFO, **how):
    task = Task("t", "sums", (Message("user", prompt),), answer, info)
    asked = [ScoreRequest(task, f"r{i}", text) for i, text in enumerate(texts)]
    config = Function(f"{FILE}:{name}", low=-1.0, high=2.0, **how)
    with config.build(Chain(length=2).build(0), LIMITS) as source:
        return source.scores(asked)


def values(name, texts, **how):
    return [pytest.approx(outcome.value) for outcome in outcomes(name, texts, **how)]


def test_whose_a_function_is():
    expected = {
        "trl": (them.trl_format_reward, them.trl_accuracy_reward, them.trl_math_only_reward),
        "verl": (them.compute_score, them.compute_score_with_parts, them.compute_score_old),
        "verl_batch": (them.compute_score_batched,),
        "openrlhf": (them.reward_func, them.reward_func_arrays, them.reward_func_one),
        "verifiers": (them.exact_match, them.brevity, them.has_level),
        "verifiers_group": (them.most_common,),
        "rubric": (them.rubric,),
        "reasoning_gym": (them.doubling, them.partial),
        "own": (them.completion_of_own, lambda task, text: 1.0, lambda task, answer: 1.0),
    }
    for kind, functions in expected.items():
        assert [kind_of(function) for function in functions] == [kind] * len(functions), kind
    assert kind_of(lambda completions, answers, **columns: []) == "trl"  # a column may have any name


def test_trl():
    assert values("trl_format_reward", ["<think>a</think>8", "8"]) == [1.0, 0.0]
    assert values("trl_accuracy_reward", ["it is 8", "9"]) == [1.0, 0.0]
    assert values("trl_math_only_reward", ["4+4=8", "8"]) == [1.0, 0.0]
    (other,) = outcomes("trl_math_only_reward", ["4+4=8"], info={**INFO, "kind": "poem"})
    assert isinstance(other, Abstained)


def test_verl():
    assert values("compute_score", ["so #### 8", "#### 3", "8"]) == [1.0, 0.1, 0.0]
    assert values("compute_score_with_parts", ["8", "9"]) == [0.9, -0.1]
    row = {"reward_model": {"ground_truth": "9"}, "extra_info": {"level": 1}}
    assert values("compute_score_with_parts", ["8", "9"], info=row) == [0.0, 1.0]
    assert values("compute_score_batched", ["12345", ""]) == [0.5, 0.0]
    assert values("compute_score_old", ["8", "9"]) == [1.0, 0.0]


def test_openrlhf():
    assert values("reward_func", ["it is 8", "4"]) == [1.0, 0.0]
    assert values("reward_func_arrays", ["12345", ""]) == [0.5, 0.0]
    assert values("reward_func_one", ["any"]) == [0.5]


def test_verifiers():
    assert values("exact_match", [" 8 ", "9"]) == [1.0, 0.0]
    assert values("brevity", ["8", "888"]) == [0.5, 0.25]
    assert values("has_level", ["8"]) == [0.3]
    assert values("most_common", ["8", "9", "8"]) == [1.0, 0.0, 1.0]
    assert values("rubric", ["8", "9"]) == [1.0, 0.0]  # brevity has weight 0


def test_reasoning_gym():
    assert values("doubling", ["8", "so <answer> 8 </answer>", "<answer>3</answer><answer>8</answer>", "9"]) == [
        1.0, 1.0, 1.0, 0.03,
    ]  # fmt: skip
    assert values("partial", ["8", "8 apples"]) == [1.0, 0.125]


def test_an_error_is_a_failure_and_never_a_zero():
    """verifiers logs it and gives 0."""
    (failed,) = outcomes("has_level", ["8"], info={"solution": "8"})
    assert isinstance(failed, Failed) and "KeyError" in failed.error and "level" in failed.error
    (nothing,) = outcomes("compute_score_with_parts", ["8"], info={"extra_info": {}})
    assert isinstance(nothing, Failed)


def test_a_kind_can_be_said_and_a_wrong_one_is_refused():
    """Read as TRL's, the group function is given strings, whose last letter has no content."""
    assert values("most_common", ["8", "9", "8"], kind="verifiers_group") == [1.0, 0.0, 1.0]
    assert all(isinstance(one, Failed) for one in outcomes("most_common", ["8", "9"], kind="trl"))
    for kind in ("prime", "TRL"):
        with pytest.raises(FunctionProblem, match="no kind"):
            function_judge(them.exact_match, kind=kind)
    with pytest.raises(FunctionProblem, match="fits neither"):
        function_judge(lambda a, b, c: 1.0)
