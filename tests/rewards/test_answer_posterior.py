"""The posterior over answers as a correction: what it hears, what it tells, and what it remembers."""

import json

import pytest

from critica.rewards.answer_posterior import AnswerPosterior
from critica.rewards.base import Scope
from critica.rewards.rates import CorrectionProblem
from rewards.said_by_hand import context, said_of, values


def heard(part: AnswerPosterior, rows, texts, step: int = 1, **more):
    live = part.build(context())
    return values(live.correct(said_of(rows, step=step, texts=texts, **more))), live


STATED = AnswerPosterior(exchanged_groups=0.4, estimate=())
CROWD = {"a": ["7", "7", "7", "7", "7", "1", "2", "3"]}


def test_a_group_told_the_wrong_way_round_is_read_the_right_way_round():
    told, live = heard(STATED, {"a": [0, 0, 0, 0, 0, 1, 1, 1]}, CROWD)
    assert min(told[:5]) > 0.99 and max(told[5:]) < 0.01
    assert live.exchanged > 0.99
    as_said, _ = heard(STATED, {"a": [1, 1, 1, 1, 1, 0, 0, 0]}, CROWD)
    assert min(as_said[:5]) > 0.99 and max(as_said[5:]) < 0.01


def test_equal_answers_share_their_fate_and_the_rest_is_theirs():
    told, _ = heard(AnswerPosterior(0.2, 0.2, estimate=()), {"a": [1, 1, 1, 0, 1, 0, 0, 1]}, CROWD)
    assert len(set(told[:5])) == 1 and told[0] > 0.9
    assert told[7] > told[5] == told[6] and told[0] + told[5] + told[6] + told[7] < 1


def test_an_answer_that_is_empty_is_wrong_and_an_unknown_verdict_stays_unknown():
    told, _ = heard(STATED, {"a": [1, 1, 0, None]}, {"a": ["5", "5", "", "5"]})
    assert told[2] == 0.0 and told[3] is None and told[0] == told[1] > 0.5


def test_values_lie_on_the_scale_and_a_third_value_is_refused():
    from critica.records.supervision import Scale

    live = STATED.build(context())
    told = values(live.correct(said_of({"a": [-1, 1]}, texts={"a": ["1", "2"]}, scale=Scale("s", -1.0, 1.0))))
    assert all(-1 <= value <= 1 for value in told) and told[1] > told[0]
    with pytest.raises(CorrectionProblem, match="two values"):
        STATED.build(context()).correct(said_of({"a": [0.5, 1]}, texts={"a": ["1", "2"]}))


def test_it_learns_that_groups_are_exchanged_and_goes_on_from_its_memory():
    rows = {f"g{i}": [0, 0, 0, 0, 0, 1, 1, 1] if i % 2 else [1, 1, 1, 1, 1, 0, 0, 0] for i in range(20)}
    texts = dict.fromkeys(rows, CROWD["a"])
    part = AnswerPosterior()
    live = part.build(context())
    live.correct(said_of(rows, step=1, texts=texts))
    assert live.model.channel.swapped == pytest.approx(0.45, abs=0.06)
    assert max(live.model.channel.rho0, live.model.channel.rho1) < 0.05
    twin = part.build(context())
    twin.load_state_dict(json.loads(json.dumps(live.state_dict())))
    for step in (2, 3, 4):
        one, other = (values(each.correct(said_of(rows, step=step, texts=texts))) for each in (live, twin))
        assert one == other
    assert live.state_dict() == twin.state_dict() and live.reports() == twin.reports()


def test_kinds_of_prompts_have_priors_of_their_own():
    rows = {f"e{i}": [1, 1, 1, 1] for i in range(12)} | {f"h{i}": [0, 0, 0, 0] for i in range(12)}
    texts = {key: ["4"] * 4 if key[0] == "e" else ["1", "2", "3", "4"] for key in rows}
    live = AnswerPosterior(0.1, 0.1, estimate=()).build(context())
    live.correct(said_of(rows, texts=texts, datasets={key: key[0] for key in rows}))
    easy, hard = (a / (a + b) for a, b in live.model.priors)
    assert live.kinds == ["e", "h"] and easy > 0.8 and hard < 0.2


def test_it_compares_siblings():
    assert AnswerPosterior().scope == "group"
    scopes: tuple[Scope, ...] = ("sample", "group", "batch")
    assert AnswerPosterior().scope in scopes


@pytest.mark.parametrize(
    "settings", [{"exchanged_groups": 0.5}, {"estimate": ("rho0",)}, {"kept": 0.0}, {"estimate": ()}]
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(CorrectionProblem):
        AnswerPosterior(**settings)
