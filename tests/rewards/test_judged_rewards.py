"""Rewards around a judge: steps (RoRo), hindsight (RLHS), a taste in context, relevance to a source (SG-SRL)."""

import json
import math

import pytest

from critica.records.supervision import Abstained, Failed, Scored, TextSpan
from critica.records.words import Message, Task
from critica.rewards.hindsight import Hindsight
from critica.rewards.in_context import Demonstration, InContextReward
from critica.rewards.judge_criteria import Criterion
from critica.rewards.schedule import Schedule
from critica.rewards.source_relevance import SourceRelevance, cosine, coverage
from critica.rewards.step_rubric import StepRubric, route_of, steps_of
from critica.rewards.verifiers import Exact, RegexExtract
from critica.rewards.workers import WorkerLimits
from rewards.judge_worlds import ENVIRONMENT, QUICK, Told, ToldJudge, siblings

TASK = Task("t", "e", (Message("user", "q"),), "42")


def live(part, rule, **settings):
    client = Told(rule)
    return part(judge=ToldJudge(client), asking=QUICK, **settings).build(ENVIRONMENT, WorkerLimits()), client


def content(sections, tag):
    return next((section.content for section in sections if section.tag == tag), None)


def sensible(sections):
    step = content(sections, "step")
    return "mm" if "?" in step else json.dumps({"verdicts": {"sensible": "yes" if "good" in step else "no"}})


LAST = RegexExtract(r"(\d+)$", Exact())


def test_steps_are_what_stands_between_separators():
    text = "[big] a; b ;;  ;c"
    assert [text[start:end] for start, end in steps_of(text, ";")] == ["[big] a;", " b ;", "c"]
    assert [route_of(step) for step in (" [big] a", "a [big]", "[open")] == ["big", "", ""]


def test_outcome_process_and_cost_by_hand():
    """Three steps, two good: process 1/2 * 2/3. One of three was routed to a model that costs .6: 1/4 * .6 / 3."""
    source, _ = live(StepRubric, sensible, outcome=LAST, cost=0.25, costs={"big": 0.6})
    said = source.verdicts(siblings(["[big] good;bad;good 42"], TASK))[0]
    assert [outcome.value for outcome in said.outcomes] == pytest.approx([1.0, 1 / 3, -0.05])
    assert said.spans[0] == TextSpan(0, 11, said.spans[0].value, 1)
    assert [(s.start, s.end, s.objective) for s in said.spans] == [(0, 11, 1), (11, 15, 1), (15, 22, 1), (0, 11, 2)]
    assert [span.value for span in said.spans] == pytest.approx([1 / 6, 0.0, 1 / 6, -0.05])
    assert [said.parts[f"step/{k}"] for k in (1, 2, 3)] == [1.0, 0.0, 1.0]


def test_shared_beginnings_are_judged_once_and_where_they_stand():
    source, client = live(StepRubric, sensible, outcome=LAST)
    source.verdicts(siblings(["good;good;1", "good;bad;2"], TASK))
    assert len(client.shown) == 5  # the first step of both is one question
    assert any("<response>\ngood;good;\n</response>" in text for text in client.shown)
    assert len(source.scales) == 2


def test_a_lost_step_leaves_the_mean_and_no_step_earns_nothing():
    source, _ = live(StepRubric, sensible, outcome=LAST)
    lost, none, empty, many = source.verdicts(siblings(["good;?;42", "?;?", "", "a;" * 65], TASK))
    assert lost.outcomes[1] == Scored(0.25, 2 / 3)  # good and 42: one of two
    assert isinstance(none.outcomes[1], Failed) and empty.outcomes[1] == Scored(0.0)
    assert isinstance(many.outcomes[1], Failed) and "65 steps" in many.outcomes[1].error


def test_criteria_of_steps_may_be_written_for_the_task():
    def rule(sections):
        if '"criteria"' in content(sections, "answer_format"):
            return json.dumps({"criteria": ["Is it good?"]})
        ids = [s.get("id") for s in sections if s.tag == "criterion"]
        return json.dumps({"verdicts": dict.fromkeys(ids, "yes" if "good" in content(sections, "step") else "no")})

    source, client = live(StepRubric, rule, outcome=LAST, criteria=(), written=2)
    assert source.verdicts(siblings(["good;bad"], TASK))[0].outcomes[1].value == 0.25
    assert len(client.shown) == 3
    for wrong in ({"criteria": ()}, {"share": 0.0}, {"separator": ""}, {"costs": {"big": 2.0}}):
        with pytest.raises(ValueError):
            StepRubric(**wrong)


SHOP = Task("shop", "e", (Message("user", "Does it play 8K?"),), "", {"truth": "It does not."})
KEEN = Criterion("keen", "Is the buyer better off?")


def market(sections):
    """A world that knows the truth; a judge who believes what it reads unless it sees what happened."""
    answer, happened = content(sections, "response"), content(sections, "outcome")
    if '"outcome"' in content(sections, "answer_format"):
        lied = "8K" in answer and "does not" in content(sections, "info")
        return json.dumps({"outcome": "The buyer finds no 8K and sends it back." if lied else "The buyer is content."})
    happy = "8K" in answer if happened is None else "content" in happened
    return json.dumps({"verdicts": {"keen": "yes" if happy else "no"}})


def test_a_lie_pays_until_its_consequences_are_seen():
    from critica.rewards.judge_reward import JudgeReward

    answers = siblings(["Yes, splendid 8K!", "No, it does not."], SHOP)
    at_once, _ = live(JudgeReward, market, criteria=(KEEN,))
    assert [one.total.value for one in at_once.verdicts(answers)] == [1.0, 0.0]
    later, client = live(Hindsight, market, criteria=(KEEN,), world_sees=("prompt", "info.truth"))
    said = later.verdicts(answers)
    assert [one.total.value for one in said] == [0.0, 1.0]
    assert said[0].parts["outcome: The buyer finds no 8K and sends it back."] == 1.0
    judged = [text for text in client.shown if "verdicts" in text]
    assert len(judged) == 2 and not any("It does not.\n" in text for text in judged)  # only the world knew


def test_without_a_known_outcome_nothing_is_thought():
    rule = lambda sections: "mm" if '"outcome"' in content(sections, "answer_format") else market(sections)  # noqa: E731
    source, client = live(Hindsight, rule, criteria=(KEEN,))
    assert isinstance(source.verdicts(siblings(["yes"], SHOP))[0].total, Failed) and len(client.shown) == 1


def taste(sections):
    """Grades by the share of the preferred examples that are shorter, as a reader of examples might."""
    shorter = [len(s.content.split("Preferred: ")[1].split("\nOver: ")[0]) < len(s.content.split("\nOver: ")[1])
               for s in sections if s.tag == "example"]  # fmt: skip
    likes_short = sum(shorter) * 2 > len(shorter)
    grade = "9" if (len(content(sections, "response")) < 5) == likes_short else "1"
    return json.dumps({"verdicts": {"taste": grade}})


def test_choices_of_others_turn_the_grades_around(tmp_path):
    brief, wordy = Demonstration("p", "No.", "No, and here is why.", 0.8), Demonstration("p", "No, sir.", "No")
    client = Told(taste)
    part = InContextReward(ToldJudge(client), (brief,), asking=QUICK)
    for one, wanted in ((part, [0.9, 0.1]), (part.condition([wordy]), [0.1, 0.9])):
        said = one.build(ENVIRONMENT, WorkerLimits()).verdicts(siblings(["Yes", "Yes, I do."], TASK))
        assert [v.total.value for v in said] == wanted
    assert 'seconds="0.8"' in client.shown[0] and "seconds=" not in client.shown[-1].split("<example")[1].split(">")[0]
    path = tmp_path / "choices.jsonl"
    path.write_text('{"prompt": "p", "preferred": "a", "other": "b", "seconds": 2}\n')
    assert InContextReward(ToldJudge(client), path=str(path)).build(ENVIRONMENT, WorkerLimits()) is not None
    path.write_text('{"prompt": "p"}\n')
    with pytest.raises(ValueError, match="nobody's choices"):
        InContextReward(ToldJudge(client)).build(ENVIRONMENT, WorkerLimits())
    other = tmp_path / "wrong.jsonl"
    other.write_text('{"prompt": "p"}\n')
    with pytest.raises(ValueError, match=r"wrong\.jsonl, line 1"):
        InContextReward(ToldJudge(client), path=str(other)).build(ENVIRONMENT, WorkerLimits())


def test_coverage_and_cosine_by_hand():
    """abc has the trigrams _ab, abc, bc_; abd has _ab, abd, bd_: one of three is shared."""
    assert coverage("abc", "abd") == pytest.approx(1 / 3) and cosine("abc", "abd") == pytest.approx(1 / 3)
    assert coverage("abc", "ABC  abc") == 1.0 and cosine("abc", "abc abc") == pytest.approx(6 / math.sqrt(3 * 13))
    assert coverage("a", "a") == 1.0 and coverage("abc", "") == 0.0


def test_what_is_longer_never_covers_less_and_the_guard_takes_it_back():
    task = Task("t", "e", (Message("user", "abc"),), "")
    padding = ["abc", "abc xyz", "abc xyz xyz xyz"]
    source = SourceRelevance(guard=Schedule(0.5, 0.5, 0)).build(ENVIRONMENT)
    said = source.verdicts(siblings(padding, task))
    assert [one.parts["relevance"] for one in said] == [1.0, 1.0, 1.0]
    # 7 / 3 / 2 - 1 = 1/6 too long, 15 / 3 / 2 - 1 = 1.5: fully
    assert [one.total.value for one in said] == pytest.approx([1.0, 1 - 0.5 / 6, 0.5])
    assert source.low == -0.5 and source.verdicts(siblings(["zzz" * 9], task))[0].total == Scored(-0.5)


def test_the_guard_may_be_put_up_later_and_only_the_source_is_seen():
    task = Task("t", "e", (Message("user", "hidden"),), "GOLD", {"text": "abc"})
    source = SourceRelevance(source="info.text", guard=Schedule(0.0, 1.0, 10)).build(ENVIRONMENT)
    long = "abc " * 5
    assert source.verdicts(siblings([long], task, step=1))[0].total == Scored(1.0)
    assert source.verdicts(siblings([long], task, step=11))[0].total == Scored(0.0)
    bare = Task("t", "e", (Message("user", "hidden"),), "")
    assert isinstance(source.verdicts(siblings([long], bare))[0].total, Abstained)
    with pytest.raises(ValueError, match=r"prompt, or info\.KEY"):
        SourceRelevance(source="answer")
