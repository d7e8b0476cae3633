"""reasoning-gym through the adapter: answers are found, its scorer is its own, weights are kept, metadata survives."""

import sys

import pytest

from critica.environments import gym_entries
from critica.environments.answers import extract_answer
from critica.environments.catalogue import parse_environment
from critica.environments.gym_entries import GymMissing, make_scorer, pack, unpack

VARIED = (
    "chain_sum",
    "simple_equations",
    "letter_counting",
    "graph_color",
    "propositional_logic",
    "countdown",
    "rearc",
)


@pytest.mark.parametrize("name", VARIED)
def test_the_score_is_the_datasets_own_and_survives_json(name: str) -> None:
    import json

    import reasoning_gym

    environment = parse_environment(f"rg:{name}").build(5)
    direct = reasoning_gym.create_dataset(name, seed=1, size=10)
    scorer = make_scorer(json.loads(json.dumps(dict(environment.scorer_address().settings))))
    for index in range(3):
        task = environment.candidate(index)
        info = json.loads(json.dumps(dict(task.info)))
        answer = task.answer if not info["answer_is_open"] else None
        entry = {"question": task.prompt, "answer": answer, "metadata": unpack(info["metadata"])}
        for text in (task.answer or "nothing", f"{task.answer} or so", "", "17"):
            expected = direct.score_answer(extract_answer(text, "auto", task.answer), entry)
            assert environment.score(task, text) == scorer(task.answer, info, text) == pytest.approx(expected)
        if answer:
            assert environment.is_correct(environment.score(task, answer))


def test_partial_credit_is_raw_and_not_correct() -> None:
    environment = parse_environment("rg:chain_sum").build(0)
    task = environment.candidate(0)
    score = environment.score(task, f"The answer is {task.answer}")
    assert 0.0 < score < 0.999 and not environment.is_correct(score)


def test_worked_answers_count_by_what_follows_the_last_equals_sign() -> None:
    environment = parse_environment("pico").build(0)
    for task in environment.held_out(12):
        assert environment.score(task, f"1+1=2={task.answer}") == 1.0
        assert environment.score(task, f"{task.answer}=x") < 0.999


@pytest.mark.parametrize(
    ("text", "rule", "reference", "answer"),
    [
        ("a=3 = 4 ", "auto", "4", "4"),
        ("x = 4", "auto", "x = 4", "x = 4"),
        ("so <answer> 7 </answer> = 9", "auto", "7", "7"),
        ("<answer>1</answer><answer>2</answer>", "tags", "2", "2"),
        ("7", "tags", "7", ""),
        (" 7 ", "auto", "7", "7"),
        ("a=b", "whole", "b", "a=b"),
        ("", "auto", "7", ""),
    ],
)
def test_extraction(text: str, rule: str, reference: str, answer: str) -> None:
    assert extract_answer(text, rule, reference) == answer


def test_weights_are_kept() -> None:
    environment = parse_environment("rg:chain_sum*3+lcm*1").build(0)
    share = sum(environment.candidate(i).info["dataset"] == "chain_sum" for i in range(1200)) / 1200
    assert 0.70 < share < 0.80  # 4 standard errors around 3/4


def test_packing_is_reversible_and_refuses_what_json_cannot_hold() -> None:
    value = {"a": (1, [2.5, None]), "b": {1: "x", (2, 3): True}, "c": {}}
    assert unpack(pack(value)) == value
    with pytest.raises(TypeError, match="set"):
        pack({"a": {1, 2}})


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(GymMissing, match=r"critica\[environments\]"):
        gym_entries.gym_module()


def test_a_refused_setting_says_so() -> None:
    with pytest.raises(ValueError, match=r"chain_sum.*min_terms"):
        gym_entries.make_dataset("chain_sum", {"min_terms": -1}, 0)
