"""RLR^3: who is shown what, what is copied and verified, and how tiers become one score."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critica.records.supervision import Abstained, Failed, Scored
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.judge_criteria import Criterion
from critica.rewards.rubric import Rubric
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.verifiers import Exact
from critica.rewards.workers import WorkerLimits
from rewards.judge_worlds import ENVIRONMENT, NUMBER, QUICK, Told, ToldJudge, siblings

ANSWER = Criterion("answer", "The final number", route="extract_then_verify")
CLEAR = Criterion("clear", "Is it clear?", tier="additional")
KIND = Criterion("kind", "Is it kind?")


def judge_by(**rules):
    """Judges criteria by functions of the response, and copies its last word."""

    def rule(sections):
        text = next(s.content for s in sections if s.tag == "response")
        if any(section.tag == "extract" for section in sections):
            return json.dumps({"value": rules.get("copy", lambda words: words.split()[-1])(text)})
        names = [section.get("id") for section in sections if section.tag == "criterion"]
        said = {name: rules[name](text) for name in names}
        return json.dumps({"verdicts": said})

    return rule


def live(rule, **settings):
    client = Told(rule)
    settings = {"verifier": Exact(), "asking": QUICK} | settings
    return Rubric(ToldJudge(client), **settings).build(ENVIRONMENT, WorkerLimits()), client


def yes(word):
    return lambda text: "yes" if word in text else "no"


def test_a_group_is_scored_by_tiers():
    source, _ = live(judge_by(clear=yes("clear")), criteria=(ANSWER, CLEAR))
    task = Task("t", "e", (Message("user", "q"),), "42")
    said = source.verdicts(siblings(["clear 42", "so 42", "clear 41", "so 41"], task))
    z, bonus = math.sqrt(3) / 2, 0.3 * math.sqrt(2)
    assert [one.total.value for one in said] == pytest.approx([z + bonus, z, -z, -z], abs=1e-5)
    assert [one.parts["tier/passed"] for one in said] == [1.0, 1.0, 0.0, 0.0]
    assert said[2].parts["clear"] == 1.0 and said[2].parts["answer"] == 0.0  # kept beside, and not told


def test_two_groups_do_not_mix_and_the_order_of_siblings_does_not_matter():
    source, _ = live(judge_by(clear=yes("clear")), criteria=(ANSWER, CLEAR))
    task = Task("t", "e", (Message("user", "q"),), "42")
    a, b = siblings(["so 42", "so 41"], task, "a"), siblings(["so 42", "so 42"], task, "b")
    mixed = source.verdicts([a[0], b[0], b[1], a[1]])
    assert [mixed[0].total, mixed[3].total] == [one.total for one in source.verdicts(a)]
    assert mixed[1].total == mixed[2].total == Scored(0.0)


def test_a_copy_that_does_not_stand_in_the_response_is_no_copy():
    source, _ = live(judge_by(copy=lambda text: "GOLD-1234"), criteria=(ANSWER,))
    said = source.verdicts(siblings(["I do not know", "it is GOLD-1234"]))
    assert isinstance(said[0].total, Failed) and "was not copied" in said[0].total.error
    assert said[1].parts["answer"] == 1.0


def test_what_is_not_said_is_wrong_and_what_cannot_be_read_is_unknown():
    source, _ = live(judge_by(copy=lambda text: None, kind=yes("kind")), criteria=(ANSWER, KIND))
    said = source.verdicts(siblings(["kind", "rude"]))
    assert [one.parts["answer"] for one in said] == [0.0, 0.0]
    source, _ = live(lambda sections: "mm", criteria=(KIND,))
    assert all(isinstance(one.total, Failed) for one in source.verdicts(siblings(["kind", "rude"])))


def test_one_lost_question_lowers_confidence_and_passes_nothing():
    def rule(sections):
        if any(section.tag == "extract" for section in sections):
            return "mm"
        return judge_by(kind=yes("kind"))(sections)

    source, _ = live(rule, criteria=(ANSWER, KIND))
    said = source.verdicts(siblings(["kind 1", "rude 1"]))
    assert [one.total.confidence for one in said] == [0.5, 0.5]
    assert [one.parts["tier/passed"] for one in said] == [0.0, 0.0]
    assert said[0].total.value > said[1].total.value


def test_a_criterion_that_does_not_apply_keeps_nobody_from_passing():
    source, _ = live(judge_by(kind=lambda text: None, clear=yes("clear")), criteria=(ANSWER, KIND, CLEAR))
    said = source.verdicts(siblings(["clear GOLD-1234", "so GOLD-1234"]))
    assert [one.parts["tier/passed"] for one in said] == [1.0, 1.0] and said[0].total.confidence == 1.0
    assert said[0].total.value > said[1].total.value
    source, _ = live(judge_by(kind=lambda text: None), criteria=(KIND,))
    assert isinstance(source.verdicts(siblings(["a"]))[0].total, Abstained)


def test_tasks_bring_criteria_of_their_own_with_answers_of_their_own():
    rubric = [{"id": "year", "text": "The year", "route": "extract_then_verify", "answer": "1789"}]
    task = Task("t", "e", (Message("user", "when?"),), "", {"rubric": rubric})
    source, client = live(judge_by())
    said = source.verdicts(siblings(["in 1789", "in 1790"], task))
    assert [one.parts["year"] for one in said] == [1.0, 0.0]
    assert all("1789" not in text.replace("in 1789", "") for text in client.shown)


@given(gold=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).map(lambda text: f"GOLD{text}"))
def test_no_model_is_ever_shown_the_gold_or_the_rubric_s_answers(gold):
    """Whatever the gold is, it is in no rendered prompt: neither the extractor's nor the judge's."""
    own = [{"id": "own", "text": "The place", "route": "extract_then_verify", "answer": f"{gold}-own"}]
    info = {"rubric": own, "image": f"{gold}-image", "note": "a note"}
    task = Task("t", "e", (Message("user", "where?"),), gold, info)
    source, client = live(judge_by(clear=yes("x")), criteria=(ANSWER, CLEAR), judge_sees=("prompt", "info.note"))
    source.verdicts([ScoreRequest(task, "a", "x one", "g"), ScoreRequest(task, "b", "y two", "g")])
    assert len(client.shown) == 6 and not any("GOLD" in text for text in client.shown)
    judged = [text for text in client.shown if "Is it clear" in text]
    assert all("a note" in text for text in judged)
    assert not any("a note" in text for text in client.shown if text not in judged)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"extractor_sees": ("prompt", "answer")}, "would copy the answer"),
        ({"judge_sees": ("info",)}, "holds the rubric itself"),
        ({"judge_sees": ("info.rubric",)}, "holds the rubric itself"),
        ({"criteria": (KIND, KIND)}, "two criteria have the id"),
        ({"key": ""}, "needs criteria"),
        ({"criteria": (KIND,), "bonus": -0.1}, "0 or above"),
    ],
)
def test_wrong_rubrics_are_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        Rubric(**settings)


def test_the_scripted_judge_copies_and_judges_a_whole_environment():
    part = Rubric(ScriptedJudge(truth=NUMBER), (ANSWER, CLEAR), verifier=NUMBER, asking=QUICK)
    source = part.build(ENVIRONMENT, WorkerLimits())
    task = ENVIRONMENT.candidate(5)
    said = source.verdicts(siblings([f"={task.answer}", "=0=1000", f"={task.answer}", "=999"], task))
    assert [one.parts["answer"] for one in said] == [1.0, 0.0, 1.0, 0.0]
    assert [one.parts["clear"] for one in said] == [1.0, 0.0, 1.0, 0.0]
    source.close()
