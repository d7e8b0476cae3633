"""Corrections as training meets them: expectations by enumeration, hand-made rounds, what is refused, what is kept."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from critica.functional.correction import ErrorRates, NoSignal
from critica.records.supervision import Abstained, Scale, Scored, SpanScore
from critica.rewards import audited_corrections
from critica.rewards.audited_corrections import Appeal, AuditedValue
from critica.rewards.correction_base import Uncorrected
from critica.rewards.corrections import Backward, Forward, Watched
from critica.rewards.each_objective import EachObjective, live_correction
from critica.rewards.rates import Audited, CorrectionProblem, Stated
from critica.rewards.value_corrections import Repair, Soften, Unsure, Winsorize
from rewards.said_by_hand import UNIT, Gold, context, said_of, values

RATES = [(0.0, 0.0), (0.2, 0.3), (0.3, 0.1), (0.45, 0.2)]
WIDE = Scale("points", -2.0, 6.0)


def line(part, scale=UNIT):
    """What the correction makes of the low and of the high value."""
    return values(part.build(context(scale)).correct(said_of({"a": [scale.low, scale.high]}, scale=scale)))


def expected(told, clean, rho0, rho1):
    high = 1 - rho1 if clean else rho0
    return (1 - high) * told[0] + high * told[1]


@pytest.mark.parametrize(("rho0", "rho1"), RATES)
@pytest.mark.parametrize("scale", [UNIT, WIDE])
def test_backward_is_right_on_average(rho0, rho1, scale):
    told = line(Backward(Stated(rho0, rho1)), scale)
    assert expected(told, False, rho0, rho1) == pytest.approx(scale.low, abs=1e-12)
    assert expected(told, True, rho0, rho1) == pytest.approx(scale.high, abs=1e-12)


@pytest.mark.parametrize(("rho0", "rho1"), RATES)
def test_forward_is_j_times_what_is_missing_to_right(rho0, rho1):
    """E[told] = J (clean - 1): 0 for right answers, -J for wrong ones."""
    told = line(Forward(Stated(rho0, rho1)))
    assert expected(told, True, rho0, rho1) == pytest.approx(0.0, abs=1e-12)
    assert expected(told, False, rho0, rho1) == pytest.approx(rho0 + rho1 - 1, abs=1e-12)


def test_on_a_bandit_the_raw_gradient_is_half_backward_whole_and_forward_half():
    """Five arms, softmax policy, rho0=.2, rho1=.3, exact expectations: the ratios of specs/rewards.md A0.3."""
    policy = torch.softmax(torch.tensor([0.3, -0.8, 0.1, 1.2, -0.4], dtype=torch.float64), 0)
    success = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.7], dtype=torch.float64)

    def gradient(low, high, rho0, rho1):
        """sum over arms of pi(a) E[told | a] d log pi(a): the expectation over arm, truth and channel."""
        chance = success * (1 - rho1) + (1 - success) * rho0
        worth = policy * ((1 - chance) * low + chance * high)
        return worth - policy * worth.sum()

    clean = gradient(0.0, 1.0, 0.0, 0.0)
    for part, ratio in ((None, 0.5), (Backward(Stated(0.2, 0.3)), 1.0), (Forward(Stated(0.2, 0.3)), 0.5)):
        told = line(part) if part else (0.0, 1.0)
        found = gradient(*told, 0.2, 0.3) / clean
        torch.testing.assert_close(found, torch.full_like(found, ratio), atol=0.01, rtol=0)


@pytest.mark.parametrize("rates", [Stated(0.45, 0.45), Stated(0.1, 0.8), Stated(0.0, 0.0), Stated(0.3, 0.6)])
@pytest.mark.parametrize("least", [0.25, 0.6])
def test_what_backward_tells_lies_within_its_reach_and_touches_it(rates, least):
    """Also where J is not let below `least`: the rates are then reckoned rarer than they are."""
    part = Backward(rates, least)
    low, high = part.reach(*(WIDE.low, WIDE.high))
    assert line(part, WIDE) == pytest.approx([low, high], abs=1e-9)
    assert (high - low) / (WIDE.high - WIDE.low) <= 1 / least + 1e-9


def test_sources_of_different_j_agree_once_each_is_corrected_by_its_own_rates():
    """Two sources about the same answers, 4000 of them, 45% right, seed 1: told means 3 sigma apart, corrected not."""
    rates = ((0.3, 0.1), (0.05, 0.4))
    dice = np.random.default_rng(1)
    right = dice.random(4000) < 0.45
    scales = (Scale("one", 0.0, 1.0), Scale("other", 0.0, 1.0))
    part = EachObjective(tuple(Backward(Stated(*pair)) for pair in rates))
    live = live_correction(part, context().environment, context().limits, scales)
    raw, mended = [], []
    for (rho0, rho1), scale in zip(rates, scales, strict=True):
        told = np.where(right, dice.random(4000) >= rho1, dice.random(4000) < rho0).astype(float)
        raw.append(told)
        mended.append(np.array(values(live.correct(said_of({"a": told.tolist()}, scale=scale)))))
    for pair, agree in ((raw, False), (mended, True)):
        apart = pair[0] - pair[1]
        sigma = apart.std() / math.sqrt(4000)
        assert bool(abs(apart.mean()) < 3 * sigma) is agree
    assert mended[0].mean() == pytest.approx(0.45, abs=0.06)


def test_each_objective_names_one_correction_each():
    two = (Scale("one", 0.0, 1.0), Scale("other", 0.0, 1.0))
    part = EachObjective((Backward(), Uncorrected()))
    live = live_correction(part, context().environment, context().limits, two)
    assert values(live.correct(said_of({"a": [1.0]}, scale=two[0]))) == pytest.approx([1.125])
    assert values(live.correct(said_of({"a": [1.0]}, scale=two[1]))) == [1.0]
    for count in (1, 3):
        with pytest.raises(CorrectionProblem, match=f"2 entries for {count} objectives"):
            live_correction(part, context().environment, context().limits, (two * 2)[:count])
    with pytest.raises(CorrectionProblem, match="take the correction itself"):
        EachObjective((Backward(),))


def test_objectives_have_counts_of_their_own_and_a_memory_of_their_own():
    two = (Scale("one", 0.0, 1.0), Scale("other", 0.0, 1.0))
    truths = {f"a.{i}": 1.0 for i in range(60)}
    part = Backward(Audited(share=1.0, gold=Gold(truths), strength=1.0))
    live = live_correction(part, context().environment, context().limits, two)
    live.correct(said_of({"a": [1.0] * 60}, scale=two[0]))
    live.correct(said_of({"a": [0.0] * 30 + [1.0] * 30}, scale=two[1]))
    found = {one.name: one.value for one in live.reports()}
    assert found["correction/objective/one/false_negatives"] == pytest.approx(0.1 / 61)
    assert found["correction/objective/other/false_negatives"] == pytest.approx(30.1 / 61)
    again = live_correction(part, context().environment, context().limits, two)
    again.load_state_dict(json.loads(json.dumps(live.state_dict())))
    assert again.reports() == live.reports()
    live.close()
    assert not any(one.rates.gold.open for one in live.live.values())


@pytest.mark.parametrize("told", [0.0, 1.0, 0.37])
@pytest.mark.parametrize("truth", [0.0, 1.0, 0.8])
def test_audited_values_are_gold_on_average_over_the_coin(told, truth, monkeypatch):
    """share * (audited) + (1 - share) * (not audited) = gold, for grades as for two values, on any scale."""
    scale, gold = Scale("r", 1.0, 3.0), Gold({"a.0": -4 + 8 * truth}, low=-4.0, high=4.0)
    part = AuditedValue(0.2, gold)
    both = []
    for seen in (True, False):
        monkeypatch.setattr(
            audited_corrections, "drawn", lambda said, share, purpose, seen=seen: said.rewards if seen else []
        )
        both += values(part.build(context(scale)).correct(said_of({"a": [1 + 2 * told]}, scale=scale)))
    assert 0.2 * both[0] + 0.8 * both[1] == pytest.approx(1 + 2 * truth)
    assert both[1] == 1 + 2 * told  # bit for bit: what is not audited is not touched
    low, high = part.reach(1.0, 3.0)
    assert low - 1e-9 <= min(both) and max(both) <= high + 1e-9


def test_where_gold_says_nothing_what_was_told_stays():
    live = AuditedValue(1.0, Gold({"a.0": 1.0})).build(context())
    assert values(live.correct(said_of({"a": [0.0, 0.0, None]}))) == [1.0, 0.0, None]
    assert live.gold.asked == ["a.0", "a.1"]
    assert [one.value for one in live.reports()] == [2.0]


def picked(part, said):
    live = part.build(context())
    live.correct(said)
    return (live.gold if hasattr(live, "gold") else live.rates.gold).asked


def test_whom_an_audit_picks_does_not_depend_on_what_was_told():
    names = {f"a.{i}": 1.0 for i in range(400)}
    for part in (AuditedValue(0.25, Gold(names)), Backward(Audited(0.25, Gold(names)))):
        told = [float(i % 2) for i in range(400)]
        one, other = said_of({"a": told}), said_of({"a": [1 - value for value in told]})
        assert picked(part, one) == picked(part, other)
        assert 70 < len(picked(part, one)) < 130
        assert picked(part, one) != picked(part, said_of({"a": told}, seed=1))
        assert picked(part, one) != picked(part, said_of({"a": told}, step=2))


def test_appeals_only_raise_and_checks_only_lower():
    truths = {"a.0": 1.0, "a.1": 0.0, "a.2": 0.0, "a.3": 1.0, "a.4": 0.49}
    told = [0.0, 0.0, 1.0, 1.0, 0.0]
    low = Appeal(gold=Gold(truths)).build(context())
    made = low.correct(said_of({"a": told}))
    assert values(made) == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert low.gold.asked == ["a.0", "a.1", "a.4"]
    assert [one.correction is not None for one in made] == [True, True, False, False, True]
    high = Appeal(against="high", gold=Gold(truths)).build(context())
    assert values(high.correct(said_of({"a": told}))) == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert high.gold.asked == ["a.2", "a.3"]


@pytest.mark.parametrize(
    "part",
    [Backward(), Forward(), Appeal(gold=Gold({}))],
    ids=lambda part: type(part).__name__,
)
def test_a_third_value_is_refused_with_the_way_out(part):
    with pytest.raises(CorrectionProblem, match="correction=audited_value"):
        part.build(context()).correct(said_of({"a": [0.0, 0.5, 1.0]}))


def test_gold_that_compares_siblings_is_refused():
    """It would be asked about a random few of them."""
    for make in (lambda g: AuditedValue(gold=g), lambda g: Appeal(gold=g), lambda g: Audited(gold=g)):
        with pytest.raises(CorrectionProblem, match="random share"):
            make(Gold({}, compares=True))


def test_a_source_without_signal_is_refused_when_stated():
    for rates in ((0.5, 0.5), (0.5, 0.46), (0.9, 0.4)):
        with pytest.raises(NoSignal, match="Youden's J"):
            Stated(*rates)
    Stated(0.5, 0.44)


def told_by(channel, truths, dice):
    """Verdicts of a source with these rates."""
    return [float(dice.random() < (1 - channel[1] if truth else channel[0])) for truth in truths]


def test_a_source_that_says_the_opposite_is_found_in_200_audits():
    """rho0=.6, rho1=.5 (J=-.1 is seldom certain in 200), .8/.7 (J=-.5 is): an alarm, and an end to the run."""
    dice = np.random.default_rng(0)
    truths = {f"a.{i}": float(i % 2) for i in range(200)}
    live = Backward(Audited(share=1.0, gold=Gold(truths))).build(context())
    live.correct(said_of({"a": told_by((0.8, 0.7), truths.values(), dice)}))
    with pytest.raises(NoSignal, match="200 audits"):
        live.correct(said_of({"b": [1.0]}, step=2))
    mild = Backward(Audited(share=1.0, gold=Gold(truths))).build(context())
    mild.correct(said_of({"a": told_by((0.55, 0.5), truths.values(), dice)}))
    found = {one.name: one.value for one in mild.reports()}
    assert found["correction/alarm"] == 1.0 and found["correction/audits"] == 200.0
    assert found["correction/signal_low"] < 0 < found["correction/signal_high"]
    good = Backward(Audited(share=1.0, gold=Gold(truths))).build(context())
    good.correct(said_of({"a": told_by((0.2, 0.1), truths.values(), dice)}))
    found = {one.name: one.value for one in good.reports()}
    assert found["correction/alarm"] == 0.0
    assert found["correction/signal_low"] < 0.7 < found["correction/signal_high"]


def test_watching_changes_nothing_and_knows_the_larger_error_in_units_of_reward():
    """20 of 40 wrong answers told high: (10 * .1 + 20) / 50 beside the prior's .1 for the right, 8 units wide."""
    truths = {f"a.{i}": 0.0 for i in range(40)}
    live = Watched(Audited(share=1.0, gold=Gold(truths))).build(context(WIDE))
    assert live.said_error() == pytest.approx(0.1 * 8)
    said = said_of({"a": [6.0] * 20 + [-2.0] * 20}, scale=WIDE)
    assert live.correct(said) == list(said.rewards)
    assert live.said_error() == pytest.approx(21 / 50 * 8)
    again = Watched(Audited(share=1.0, gold=Gold(truths))).build(context(WIDE))
    again.load_state_dict(json.loads(json.dumps(live.state_dict())))
    assert again.said_error() == live.said_error()
    assert Backward(Stated(0.05, 0.2)).build(context(WIDE)).said_error() == pytest.approx(0.2 * 8)


def test_a_watched_source_that_says_the_opposite_is_an_alarm_and_no_end():
    truths = {f"a.{i}": float(i % 2) for i in range(200)}
    live = Watched(Audited(share=1.0, gold=Gold(truths))).build(context())
    live.correct(said_of({"a": [1.0 - float(i % 2) for i in range(200)]}))
    live.correct(said_of({"b": [1.0]}, step=2))
    assert {one.name: one.value for one in live.reports()}["correction/alarm"] == 1.0
    assert live.said_error() > 0.9


def test_the_rates_that_correct_a_round_come_from_the_rounds_before():
    """First the prior, .1 for both; then (10 * .1 + 20 errors) / (10 + 40) for the wrong, as it was for the right."""
    truths = {f"a.{i}": 0.0 for i in range(40)}
    live = Backward(Audited(share=1.0, gold=Gold(truths))).build(context())
    told = [1.0] * 20 + [0.0] * 20
    first = values(live.correct(said_of({"a": told})))
    assert first[0] == pytest.approx(0.9 / 0.8) and first[-1] == pytest.approx(-0.1 / 0.8)
    rho0, rho1 = (1.0 + 20) / 50, 0.1
    second = values(live.correct(said_of({"b": [1.0, 0.0]})))  # another round of the same step
    assert second == pytest.approx([(1 - rho0) / (1 - rho0 - rho1), -rho0 / (1 - rho0 - rho1)])
    live.correct(said_of({"c": [1.0]}, step=2))  # counts fade once a step, whatever is audited
    assert live.rates.counts.wrong == pytest.approx(40 * 0.98)
    live.correct(said_of({"d": [1.0]}, step=2))
    assert live.rates.counts.wrong == pytest.approx(40 * 0.98)


def test_estimated_rates_stay_within_the_reach_that_was_declared():
    truths = {f"a.{i}": float(i % 2) for i in range(60)}
    part = Backward(Audited(share=1.0, gold=Gold(truths), strength=1.0))
    live = part.build(context())
    live.correct(said_of({"a": [1.0 - float(i % 2 and i % 4 != 1) for i in range(60)]}))
    low, high = part.reach(0.0, 1.0)
    told = values(live.correct(said_of({"b": [0.0, 1.0]})))
    assert live.rates.rates()[0] > 0.9
    assert low <= told[0] < told[1] <= high
    assert (low, high) == (-3.0, 4.0)


def test_a_memory_comes_back_bit_for_bit():
    truths = {f"a.{i}": float(i % 3 == 0) for i in range(90)}
    part = Backward(Audited(share=0.7, gold=Gold(truths)))
    live, again = part.build(context()), part.build(context())
    dice = np.random.default_rng(5)
    for step in (1, 2, 3):
        live.correct(said_of({"a": told_by((0.2, 0.3), truths.values(), dice)}, step=step))
    again.load_state_dict(json.loads(json.dumps(live.state_dict())))
    later = said_of({"a": told_by((0.2, 0.3), truths.values(), dice)}, step=4)
    assert values(live.correct(later)) == values(again.correct(later))
    assert live.state_dict() == again.state_dict() and live.reports() == again.reports()
    assert live.rates.counts != ErrorRates()


def test_repair_raises_what_looks_wrong_by_the_share_of_phrases():
    texts = {"a": ["WAIT, because x", "nothing of it", "wait because", "because"]}
    part = Repair(phrases=("wait", "becau[s]e", "therefore", "thus"), threshold=0.5, gain=0.4)
    said = said_of({"a": [0.0, 0.1, 0.5, 0.45]}, texts=texts)
    assert values(part.correct(said)) == pytest.approx([0.2, 0.1, 0.5, 0.55])
    assert values(part.correct(said_of({"a": [0.1, None]})))[0] == 0.1  # bit for bit where nothing is added
    top = Repair(phrases=("words",), threshold=1.0, gain=0.9)
    assert values(top.correct(said_of({"a": [0.75]}))) == [1.0]
    with pytest.raises(ValueError, match="not a regular expression"):
        Repair(phrases=("(",))


def test_soften_and_winsorize_by_hand():
    assert line(Soften(0.2), WIDE) == pytest.approx([-2 + 8 * 0.1, -2 + 8 * 0.9])
    told = said_of({"a": [0.0, 0.0, 1.0, 5.0], "b": [3.0, None]}, scale=WIDE)
    assert values(Winsorize(0.25).correct(told)) == pytest.approx([0.0, 0.0, 1.0, 2.0, 3.0, None])
    assert Winsorize().scope == "group"


def test_verdicts_that_their_source_distrusts_are_none():
    told = said_of({"a": [Scored(1.0, 0.4), Scored(0.0, 0.5), 1.0, None]})
    made = Unsure(0.5).correct(told)
    assert values(made) == [None, 0.0, 1.0, None]
    assert isinstance(made[0].outcome, Abstained) and "0.4 is below" in made[0].outcome.reason
    assert made[0].said_value == 1.0 and made[1] == told.rewards[1]
    with pytest.raises(CorrectionProblem, match="a confidence"):
        Unsure(1.5)


def test_spans_keep_their_shares_of_what_is_told():
    """Half of a value of 1 is half of 1.125; a value of 0 has no shares."""
    said = said_of({"a": [1.0, 0.0]}, spans=(SpanScore(1, 2, 0.5),))
    right, wrong = Backward(Stated(0.1, 0.1)).build(context()).correct(said)
    assert right.spans[0].value == pytest.approx(0.5625) and wrong.spans[0].value == 0.0
    assert right.said_value == 1.0 and right.correction.rule == "backward"


def test_what_has_no_number_gets_none():
    said = said_of({"a": [None, 1.0]})
    parts = (Backward(), Forward(), Soften(), Winsorize(), Repair(), AuditedValue(1.0, Gold({"a.0": 1.0})))
    for part in parts:
        made = part.build(context()).correct(said)
        assert made[0] == said.rewards[0] and isinstance(made[1].outcome, Scored), part
    assert Uncorrected().correct(said) == said.rewards


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Backward(least=0.0), "smallest J"),
        (lambda: AuditedValue(0.0), "share is 0"),
        (lambda: Appeal(1.5), "share is 1"),
        (lambda: Soften(1.0), "by is 1"),
        (lambda: Winsorize(0.5), "quantile level"),
        (lambda: Audited(prior=0.5), r"\[0, \.5\)"),
        (lambda: replace(Stated(), false_negatives=-0.1), "probability"),
    ],
)
def test_wrong_settings_say_what_is_meant(make, words):
    with pytest.raises(CorrectionProblem, match=words):
        make()
