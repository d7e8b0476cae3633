"""EvoRubric: who survives, what is remembered, and that a crash changes neither."""

import json
import math

import pytest
import torch

from critica.records.journal import NoJournal
from critica.records.supervision import Abstained, Scored
from critica.rewards.evo_pool import Judgment, RubricPool, likeness, survivors
from critica.rewards.evo_rubric import EvoRubric
from critica.rewards.judge_criteria import Criterion
from critica.rewards.rubric_writer import named
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.workers import WorkerLimits
from critica.rollout.ask import ask
from rewards.judge_worlds import ENVIRONMENT, NUMBER, QUICK, Told, ToldJudge, siblings

NONE = torch.zeros(0, 4, dtype=torch.float64)
EXPERT = Criterion("expert", "Is it clear?", weight=2.0)


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_an_all_yes_criterion_and_a_contrarian_are_dropped_whatever_the_order():
    texts = ["good", "fine", "always", "contrary"]
    values = rows([1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1])
    found = {one.text: one for one in survivors(texts, values, NONE, 0.2)}
    assert {text for text, one in found.items() if one.kept} == {"good", "fine"}
    assert found["contrary"].agreement == pytest.approx(-1.0) and math.isnan(found["always"].agreement)
    assert found["good"].worth == pytest.approx(1.0) and found["good"].spread == 0.5  # they agree once it is gone
    order = [3, 0, 2, 1]
    again = survivors([texts[k] for k in order], values[order], NONE, 0.2)
    assert {one.text: one.kept for one in again} == {text: one.kept for text, one in found.items()}


def test_the_writer_earns_agreement_times_spread_of_what_is_kept():
    good = Judgment("a", True, 0.5, 0.4, 0.0)
    assert good.earned == 0.2 and Judgment("a", False, 0.5, 0.4, 0.0).earned == 0.0
    assert Judgment("a", True, math.nan, 0.4, 0.0).earned == 0.0


def test_one_alone_is_kept_and_experts_are_peers():
    alone = survivors(["good"], rows([1, 1, 0, 0]), NONE, 0.2)
    assert alone[0].kept and math.isnan(alone[0].agreement)
    expert = survivors(["contrary"], rows([0, 0, 1, 1]), rows([1, 1, 0, 0]), 0.2)
    assert not expert[0].kept and expert[0].agreement == pytest.approx(-1.0)


def judgment(text, worth, kept=True, spread=0.5):
    return Judgment(text, kept, 0.9, spread, worth)


def test_the_pool_keeps_the_worthiest_one_of_each_kind():
    pool = RubricPool(2, 0.9)
    pool.learn("q", [judgment("Is it short?", 0.1), judgment("Does it cite?", 0.5), judgment("Any unit named?", 0.3)])
    assert pool.of("q") == ("Does it cite?", "Any unit named?") and pool.of("other") == ()
    assert likeness("Does it cite?", "Does it cite ?") > 0.9 > likeness("Does it cite?", "Any unit named?")
    pool.learn("q", [judgment("Does it cite ?", 0.2)])
    assert "Does it cite ?" not in pool.of("q")
    pool.learn("q", [judgment("Does it cite ?", 0.9)])
    assert pool.of("q") == ("Does it cite ?", "Any unit named?")
    pool.learn("q", [judgment("Does it cite ?", 0.0, kept=False, spread=0.0), judgment("Any unit named?", 0.0, False)])
    assert pool.of("q") == ("Does it cite ?",)  # saturated today, not wrong
    other = RubricPool(2, 0.9)
    other.load_state_dict(json.loads(json.dumps(pool.state_dict())))
    assert other.of("q") == pool.of("q")


TEXTS = ("Is the digit high?", "Is the digit large?", "Is there a digit?", "Is the digit low?", "Is it long enough?")


def rule(sections):
    """Writes five criteria, passes those that are not about length, judges by the digit."""
    form = next(s.content for s in sections if s.tag == "answer_format")
    criteria = [s for s in sections if s.tag == "criterion"]
    if '"criteria"' in form:
        return json.dumps({"criteria": list(TEXTS)})
    if '"flags"' in form:
        about = "yes" if "long" in criteria[0].content else "no"
        return json.dumps({"flags": {"atomic": "yes", "checkable": "yes", "relevant": "yes", "length_only": about}})
    high = int(next(s.content for s in sections if s.tag == "response")) > 4
    said = {"high": high, "large": high, "there": True, "low": not high, "clear": high}
    return json.dumps({"verdicts": {c.get("id"): "yes" if next(v for k, v in said.items() if k in c.content) else "no"
                                    for c in criteria}})  # fmt: skip


def live(rule=rule, **settings):
    client = Told(rule)
    part = EvoRubric(ToldJudge(client), asking=QUICK, **{"proposals": 5} | settings)
    return part.build(ENVIRONMENT, WorkerLimits()), client


def test_only_what_survives_is_told():
    source, _ = live()
    said = source.verdicts(siblings(["9", "8", "1", "0"]))
    assert [one.total for one in said] == [Scored(1.0), Scored(1.0), Scored(0.0), Scored(0.0)]
    fates = {one.text: one.kept for one in source.judged["g"]}
    assert fates == {TEXTS[0]: True, TEXTS[1]: True, TEXTS[2]: False, TEXTS[3]: False}  # the fifth was never applied
    assert set(source.pool.of("a question")) == set(TEXTS[:2])


def test_where_nothing_tells_answers_apart_there_is_no_outcome_unless_an_expert_spoke():
    source, _ = live()
    assert all(isinstance(one.total, Abstained) for one in source.verdicts(siblings(["9", "8"])))
    source, _ = live(criteria=(EXPERT,))
    assert [one.total for one in source.verdicts(siblings(["9", "8"]))] == [Scored(1.0)] * 2


def test_a_criterion_without_peers_is_half_believed():
    source, _ = live(proposals=1)
    said = source.verdicts(siblings(["9", "0"]))
    assert [one.total for one in said] == [Scored(1.0, 0.5), Scored(0.0, 0.5)]


def test_the_pool_is_used_again_and_shown_to_the_writer():
    source, client = live(proposals=2)
    source.verdicts(siblings(["9", "0", "1", "8"]))
    client.shown.clear()
    client.rule = lambda sections: json.dumps({"criteria": []}) if "criteria" in str(sections[-1]) else rule(sections)
    said = source.verdicts(siblings(["9", "0"], step=2))
    assert [one.total.value for one in said] == [1.0, 0.0] and any(TEXTS[0] in text for text in client.shown)


class Kept(NoJournal):
    """A journal in memory."""

    def __init__(self):
        object.__setattr__(self, "lines", [])

    def recall(self, step):
        return tuple(line for at, line in self.lines if at == step)

    def record(self, step, answers):
        self.lines.extend(
            (step, type(answer).from_json(json.loads(json.dumps(answer.to_json())))) for answer in answers
        )


def test_a_step_known_from_the_journal_leaves_the_same_memory():
    asked = siblings(["9", "8", "1", "0"]) + siblings(["7", "2"], group="h")
    journal, (first, _), (second, client) = Kept(), live(criteria=(EXPERT,)), live(criteria=(EXPERT,))
    said = ask(first, asked, journal, 1)
    assert ask(second, asked, journal, 1) == said and not client.shown
    assert second.state_dict() == first.state_dict() and first.state_dict()["questions"] > 0
    third, _ = live(criteria=(EXPERT,))
    third.load_state_dict(json.loads(json.dumps(first.state_dict())))
    later = siblings(["6", "3", "5"], step=2)
    assert third.verdicts(later) == first.verdicts(later)


def test_the_scripted_judge_writes_looks_and_judges():
    judge = ScriptedJudge(truth=NUMBER, proposals=("Is the number right?", "Is it long?"))
    source = EvoRubric(judge, asking=QUICK).build(ENVIRONMENT, WorkerLimits())
    task = ENVIRONMENT.candidate(3)
    said = source.verdicts(siblings([task.answer, "-1000"], task))
    assert [one.total.value for one in said] == [1.0, 0.0] and source.pool.of(task.prompt) == ("Is the number right?",)
    source.close()


def test_criteria_are_needed_for_a_prompt_that_is_seen():
    with pytest.raises(ValueError, match="must name the prompt"):
        EvoRubric(needs=("text",))
    assert named("a").id != named("b").id
