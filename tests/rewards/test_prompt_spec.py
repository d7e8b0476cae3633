"""Prompt-level specifications: the mixture by hand, the fading grade, checks in workers, files of specifications."""

import json

import pytest

from critica.records.supervision import Abstained, Failed, Scored
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.constraints import Constraints
from critica.rewards.judge_criteria import Criterion
from critica.rewards.prompt_spec import PromptSpec
from critica.rewards.schedule import Schedule
from critica.rewards.spec_checks import share_held, works_on
from critica.rewards.spec_file import SpecChecks, SpecFile, SpecProblem, write_specs
from critica.rewards.verifiers import Exact
from critica.rewards.wire import Declined, Item, TaskView
from critica.rewards.workers import WorkerLimits
from rewards.judge_worlds import ENVIRONMENT, QUICK, Told, ToldJudge

STYLE = Criterion("style", "Is it terse?", choices=("no", "partly", "yes"))
TASK = Task("t", "e", (Message("user", "q"),), "42", {"rubric": [{"id": "own", "text": "Own?", "weight": 3.0}]})


def judge(sections):
    names = [section.get("id") for section in sections if section.tag == "criterion"]
    said = {"style": "partly", "own": "yes", "quality": "2"}
    return json.dumps({"verdicts": {name: said[name] for name in names}})


def live(rule=judge, **settings):
    client = Told(rule)
    settings = {"criteria": (STYLE,), "checkers": (Exact(),), "asking": QUICK} | settings
    return PromptSpec(ToldJudge(client), **settings).build(ENVIRONMENT, WorkerLimits()), client


def at(step, text="42", task=TASK):
    return [ScoreRequest(task, "a", text, "g", step)]


def test_a_schedule_is_a_straight_line_between_its_ends():
    fading = Schedule(1.0, 0.0, 800)
    assert [fading.at(step) for step in (0, 1, 401, 801, 5000)] == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert Schedule(0.25, 1.0, 0).at(1) == 1.0


def test_the_mixture_by_hand_at_three_steps():
    """s_r = (.5 + 3) / 4 = .875, s_c = 1, s_g = .2: .9375 specific."""
    source, client = live()
    first, middle, last = (source.verdicts(at(step))[0] for step in (1, 401, 801))
    assert first.total.value == pytest.approx(0.2) and middle.total.value == pytest.approx(0.5 * 0.9375 + 0.1)
    assert last.total.value == pytest.approx(0.9375)
    assert last.parts["part/rubric"] == 0.875 and last.parts["part/checks"] == 1.0 and "part/global" not in last.parts
    assert last.parts["judge/questions"] == 1.0 and middle.parts["judge/questions"] == 2.0
    assert last.parts["style"] == 0.5 and len(client.shown) == 2  # rubric and grade once each, then from the cache
    source, client = live()
    source.verdicts(at(801))
    assert len(client.shown) == 1 and "How good is the response" not in client.shown[0]


def test_weights_and_a_failed_check_move_it_the_right_way():
    source, _ = live(weights=(3.0, 1.0))
    assert source.verdicts(at(801, "41"))[0].total.value == pytest.approx(0.75 * 0.875)


def test_missing_parts_leave_the_sums_and_are_no_zeros():
    source, _ = live(rule=lambda sections: "mm")
    said = source.verdicts(at(801))[0]
    assert said.total == Scored(1.0, 0.5)  # the rubric was to have half a say, and said nothing
    assert set(said.parts) == {"part/checks", "part/checks_weight", "judge/questions"}
    bare = Task("t", "e", (Message("user", "q"),), "42")
    source, _ = live(criteria=(), checkers=(SpecChecks(),))
    assert isinstance(source.verdicts(at(801, task=bare))[0].total, Abstained)
    source.close()
    source, _ = live(rule=lambda sections: "mm", checkers=())
    assert isinstance(source.verdicts(at(401))[0].total, Failed)


def test_the_judge_sees_neither_the_answer_nor_the_rubric_s_neighbors():
    secret = Task("t", "e", (Message("user", "q"),), "GOLD", {"note": "GOLD", "checks": ["GOLD"]})
    source, client = live()
    source.verdicts(at(1, "an answer", secret))
    assert client.shown and not any("GOLD" in text for text in client.shown)


def test_constraints_of_other_rewards_serve_as_checks():
    asked = [["Length", "Words", "Answer in at most 5 words."]]
    task = Task("t", "e", (Message("user", "q"),), "", {"constraints": asked})
    source, _ = live(criteria=(), checkers=(Constraints(pay="share"),))
    try:
        said = [source.verdicts(at(801, text, task))[0].total for text in ("only a few words", "word " * 9)]
    finally:
        source.close()
    assert said == [Scored(1.0), Scored(0.0)]


def item(text, *checks):
    view = TaskView("t", "e", "q", (), "", {"checks": list(checks)}, 0)
    return Item("a", view, text)


ENDS = "def check(response):\n    return response.endswith('!')"
SHORT = "import re\ndef check(response):\n    return len(re.findall('[a-z]+', response)) < 3"


def test_checks_are_averaged_and_a_broken_one_says_nothing():
    assert share_held(item("one two!", ENDS, SHORT), "checks") == 1.0
    assert share_held(item("one two", ENDS, SHORT), "checks") == 0.5
    assert share_held(item("one two", ENDS, "def check(response):\n    return 1 / 0"), "checks") == 0.0
    assert share_held(item("one two!", ENDS, "def check(response):\n    return 3"), "checks") == 1.0
    assert isinstance(share_held(item("x"), "checks"), Declined)
    with pytest.raises(ValueError, match="none of 1 checks works"):
        share_held(item("x", "y = 1"), "checks")
    assert works_on([ENDS, "y = 1", "def check(r): return len(r)"], ["a", ""]) == [True, False, False]


def test_checks_run_in_workers_and_one_that_hangs_costs_its_answer_alone(tmp_path):
    hang = "def check(response):\n    while 'hang' in response: pass\n    return True"
    path = tmp_path / "specs.jsonl"
    write_specs(str(path), [{"prompt": "q", "checks": [ENDS, hang]}])
    part = PromptSpec(ToldJudge(Told(judge)), checkers=(SpecChecks(),), fading=Schedule(0.0, 0.0, 0), specs=str(path))
    source = part.build(ENVIRONMENT, WorkerLimits(workers=1, call_seconds=1.0))
    task = Task("t", "e", (Message("user", "Q "),), "")
    try:
        said = source.verdicts([*at(1, "well!", task), *at(1, "well", task), *at(1, "hang!", task)])
    finally:
        source.close()
    assert [one.total for one in said[:2]] == [Scored(1.0), Scored(0.5)] and isinstance(said[2].total, Failed)


def test_a_file_of_specifications_gives_each_prompt_its_own(tmp_path):
    path = tmp_path / "specs.jsonl"
    write_specs(str(path), [{"prompt": "q", "rubric": [{"id": "own", "text": "From the file?"}], "checks": [ENDS]}])
    found = SpecFile.read(str(path))
    plain = Task("t", "e", (Message("user", "q"),), "")
    assert found.equipped(plain).info["checks"] == [ENDS]
    assert found.equipped(TASK).info["rubric"] == TASK.info["rubric"]  # the task's own word comes first
    other = Task("t", "e", (Message("user", "another"),), "")
    assert found.equipped(other) is other


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"rubric": []}, "KeyError"),
        ({"prompt": "q", "rubric": [{"id": "a"}]}, "needs a text"),
        ({"prompt": "q", "checks": ["def check(:"]}, "SyntaxError"),
    ],
)
def test_a_wrong_line_is_named(row, why, tmp_path):
    with pytest.raises(SpecProblem, match=f"line 2.*{why}"):
        write_specs(str(tmp_path / "x.jsonl"), [{"prompt": "fine"}, row])
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(
    "settings", [{"weights": (0.0, 0.0)}, {"weights": (-1.0, 2.0)}, {"fading": Schedule(2.0, 0.0, 5)}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError):
        PromptSpec(**settings)
