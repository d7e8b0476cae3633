"""Minimal exposure: what a source did not declare is nowhere in what it is given, and asking for it says what to do."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critica.environments.digit_sum import DigitSum
from critica.records.supervision import Scale, Scored, Verdict
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest, VerdictSource, item_of
from critica.rewards.exposure import FIELDS, read_needs, visible
from critica.rewards.verifiers import Function
from critica.rewards.wire import Item, TaskView
from critica.rewards.workers import WorkerLimits

SECRETS = {name: f"secret-of-{name}" for name in ("task_id", "environment", "prompt", "answer")}
ENTRIES = ("gold", "dataset", "rubric")
NEEDS = (*sorted(FIELDS), *(f"info.{key}" for key in ENTRIES))
LIMITS = WorkerLimits(workers=1, call_seconds=20.0, batch_seconds=60.0)


def request(text="hello"):
    call = {"id": "1", "function": {"name": "secret-of-prompt"}}
    messages = (Message("user", SECRETS["prompt"]), Message("tool", "x", (call,), "secret-of-prompt"))
    info = {key: f"secret-of-info.{key}" for key in ENTRIES}
    task = Task(SECRETS["task_id"], SECRETS["environment"], messages, SECRETS["answer"], info, seed=987654321)
    return ScoreRequest(task, "1.0.0", text, "1.0", 1)


def secrets_for(needs):
    """Which secrets may be there, and which may not."""
    entries = {f"info.{key}" for key in ENTRIES}
    shown = set(needs) | (entries if "info" in needs else set())
    names = {*SECRETS, *entries}
    words = {name: f"secret-of-{name}" for name in names} | {"seed": "987654321"}
    return {words[name] for name in words if name in shown}, {words[name] for name in words if name not in shown}


@given(st.sets(st.sampled_from(NEEDS)))
def test_the_bytes_that_travel_hold_what_was_declared_and_nothing_else(needs):
    travelled = json.dumps(item_of(request(), read_needs((*sorted(needs), "text"))).to_json())
    there, withheld = secrets_for(needs)
    assert all(secret in travelled for secret in there)
    assert not any(secret in travelled for secret in withheld)
    assert "hello" in travelled


@given(st.sets(st.sampled_from(NEEDS)))
def test_a_source_in_this_process_is_given_as_little(needs):
    shown = visible(request().task, read_needs((*sorted(needs), "text")))
    there, withheld = secrets_for(needs)
    assert all(secret in repr(shown) for secret in there)
    assert not any(secret in repr(shown) for secret in withheld)


def test_everything_travels_where_nothing_is_declared():
    whole = item_of(request()).to_json()
    assert Item.from_json(json.loads(json.dumps(whole))).to_json() == whole
    assert all(secret in json.dumps(whole) for secret in secrets_for(NEEDS)[0])


def test_asking_for_more_says_which_need_to_add():
    item = Item.from_json(item_of(request(), read_needs(("answer", "info.gold"))).to_json())
    assert item.task.answer == SECRETS["answer"] and item.task.info["gold"] == "secret-of-info.gold"
    with pytest.raises(AttributeError, match='add "prompt" to the `needs`'):
        _ = item.task.messages
    with pytest.raises(AttributeError, match='add "seed" to the `needs`'):
        _ = item.task.seed
    with pytest.raises(KeyError, match=r"info\.rubric"):
        _ = item.task.info["rubric"]
    with pytest.raises(AttributeError, match="a task has no 'gold'"):
        _ = item.task.gold
    assert item.task.info.get("rubric") is None
    assert "answer=" in repr(item.task) and "messages" not in repr(item.task)
    assert item.task == TaskView.of(item.task.seen()) and item.task != item_of(request()).task


def test_what_is_no_field_is_refused():
    for name in ("gold", "messages", "info."):
        with pytest.raises(ValueError, match="no field of a task"):
            read_needs((name,))
    assert read_needs(()) is None and read_needs(("text",)) == frozenset()


class Looks(VerdictSource):
    """Notes what it was shown."""

    name, scales, needs = "looks", (Scale("r", 0.0, 1.0),), frozenset({"info.dataset"})

    def __init__(self):
        self.seen = []

    def judge(self, items):
        self.seen += [item.task for item in items]
        return [Verdict((Scored(1.0),)) for _ in items]


def test_a_verdict_source_is_shown_what_it_declares():
    source = Looks()
    source.verdicts([request()])
    (task,) = source.seen
    assert task.info == {"dataset": "secret-of-info.dataset"}
    assert (task.answer, task.prompt.strip(), task.seed) == ("", "", 0)


def own(task, completion):
    return float(completion == task.answer)


def curious(task, completion):
    return float(bool(task.prompt))


def trl(completions, **columns):
    return [float(sorted(columns) == ["answer", "dataset"]) for _ in completions]


def trl_with_prompts(prompts, completions):
    return [1.0 for _ in completions]


def verifiers(completion, answer):
    return float(completion[0]["content"] == answer)


def verifiers_group(completions, answers):
    return [float(one[0]["content"] == answer) for one, answer in zip(completions, answers, strict=True)]


def verl(data_source, solution_str, ground_truth, extra_info=None):
    return float(ground_truth == solution_str and set(extra_info) == {"data_source", "num_turns"})


@pytest.mark.parametrize(
    ("function", "needs", "text", "value", "error"),
    [
        (own, ("answer",), "secret-of-answer", 1.0, ""),
        (own, ("text",), "hello", None, 'add "answer" to the `needs`'),
        (curious, ("answer",), "hello", None, 'add "prompt" to the `needs`'),
        (trl, ("answer", "info.dataset"), "hello", 1.0, ""),
        (trl_with_prompts, ("answer",), "hello", None, "asks for prompts"),
        (verifiers, ("answer",), "secret-of-answer", 1.0, ""),
        (verifiers, ("prompt",), "secret-of-answer", None, 'add "answer" to the `needs`'),
        (verifiers_group, ("answer",), "secret-of-answer", 1.0, ""),
        (verifiers_group, ("text",), "secret-of-answer", None, 'add "answer" to the `needs`'),
        (verl, ("answer", "info.data_source"), "secret-of-answer", 1.0, ""),
        (verl, ("info.data_source",), "secret-of-answer", None, 'add "answer" to the `needs`'),
    ],
)
def test_functions_of_any_library_see_what_is_declared(function, needs, text, value, error):
    asked = request(text)
    if function is verl:
        task = asked.task
        info = {"data_source": "d", **task.info}
        asked = ScoreRequest(Task(task.task_id, task.environment, task.messages, task.answer, info), "1.0.0", text)
    with Function(function, needs=needs).build(DigitSum().build(0), LIMITS) as source:
        (outcome,) = source.scores([asked])
    if value is None:
        assert error in outcome.error
    else:
        assert outcome == Scored(value)
