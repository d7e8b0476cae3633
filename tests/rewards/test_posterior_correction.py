"""The posterior as a part: read in the light of siblings, fitted as training goes, kept over a stop."""

import json

import numpy as np
import pytest

from critica.records.supervision import Scale
from critica.rewards.posterior import Posterior
from critica.rewards.rates import CorrectionProblem
from rewards.said_by_hand import context, said_of, values


def rounds(live, truth, steps, swapped, seed, groups=12, size=8, datasets=("one",), like=0.0):
    """Feed rounds in which `truth[dataset]` of the answers are right and groups are exchanged at this rate.

    `like` above 0: prompts of a kind differ, by a Beta law that is worth so many answers.
    """
    dice = np.random.default_rng(seed)
    for step in range(1, steps + 1):
        rows, kinds = {}, {}
        for g in range(groups):
            kind = datasets[g % len(datasets)]
            rate = dice.beta(like * truth[kind], like * (1 - truth[kind])) if like else truth[kind]
            row = (dice.random(size) < rate).astype(float)
            key = f"{step}.{g}"
            rows[key], kinds[key] = list(1 - row if dice.random() < swapped else row), kind
        live.correct(said_of(rows, step=step, datasets=kinds))


def test_a_group_told_the_wrong_way_round_is_read_the_right_way_round():
    """The policy is right nine times of ten, which the rounds before have shown; one in eight told right was seven."""
    live = Posterior(exchanged_groups=0.2, estimate=()).build(context())
    rounds(live, {"one": 0.9}, 8, 0.2, seed=0)
    told = said_of({"9.0": [1.0] + [0.0] * 7, "9.1": [1.0] * 7 + [0.0]}, step=9)
    made = values(live.correct(told))
    assert made[0] < 0.1 and min(made[1:8]) > 0.9
    assert min(made[8:15]) > 0.9 and made[15] < 0.1
    assert live.exchanged == pytest.approx(1.0, abs=0.1)  # of these two groups
    (share,) = [one for one in live.reports() if one.name == "correction/exchanged_share"]
    assert share.value == pytest.approx(0.5, abs=0.05)


def test_kinds_of_prompts_have_priors_of_their_own():
    """The same verdicts mean the opposite where prompts are easy and where they are hard."""
    live = Posterior(exchanged_groups=0.2, estimate=()).build(context())
    rounds(live, {"easy": 0.92, "hard": 0.08}, 8, 0.2, seed=1, datasets=("easy", "hard"))
    row = [1.0] + [0.0] * 7
    made = values(live.correct(said_of({"a": row, "b": row}, step=9, datasets={"a": "easy", "b": "hard"})))
    assert made[0] < 0.1 and made[1] > 0.9
    assert made[8] > 0.9 and made[9] < 0.1


def test_rates_are_found_while_training_without_audits():
    """Group flips at .25 on an easy and a hard kind, 24 steps of 32 groups: the rate within .06, seed 2."""
    live = Posterior(kept=1.0, every=24).build(context())
    rounds(live, {"easy": 0.85, "hard": 0.1}, 24, 0.25, seed=2, groups=32, datasets=("easy", "hard"), like=3.0)
    found = {one.name: one.value for one in live.reports()}
    assert found["correction/exchanged_groups"] == pytest.approx(0.25, abs=0.06)
    assert max(found["correction/false_positives"], found["correction/false_negatives"]) < 0.1
    assert found["correction/signal"] == pytest.approx(0.5, abs=0.15)


def test_alone_a_verdict_counts_for_what_its_rates_leave_of_it():
    """One answer, even prior, by Bayes: P(right | told right) = .7 / (.7 + .2), P(right | told wrong) = .3 / (.3 + .8).

    Without errors it is told as it was said.
    """
    live = Posterior(0.2, 0.3, estimate=()).build(context())
    assert values(live.correct(said_of({"a": [1.0], "b": [0.0]}))) == pytest.approx([7 / 9, 3 / 11], abs=1e-4)
    free = Posterior(estimate=("exchanged_groups",)).build(context())
    free.fit = type(free.fit)(replace_channel(free.fit.channel), (), 0.0)
    told = values(free.correct(said_of({"a": [1.0], "b": [0.0], "c": [None]}, step=3)))
    assert told[:2] == pytest.approx([1.0, 0.0], abs=1e-4) and told[2] is None


def replace_channel(channel):
    return type(channel)(0.0, 0.0, 0.0)


def test_missing_siblings_are_not_counted_and_scales_are_kept():
    """Known siblings of 2 decide alone, on a scale from -1 to 3."""
    scale = Scale("r", -1.0, 3.0)
    live = Posterior(0.2, 0.3, estimate=()).build(context(scale))
    wide = values(live.correct(said_of({"a": [3.0, None, -1.0]}, scale=scale)))
    other = Posterior(0.2, 0.3, estimate=()).build(context())
    unit = values(other.correct(said_of({"a": [1.0, 0.0]})))
    assert wide[1] is None
    assert [wide[0], wide[2]] == pytest.approx([-1 + 4 * one for one in unit])
    assert list(live.counts) == [(0, 2)]


def test_counts_fade_once_a_step_and_fits_come_at_1_2_4_and_then_every_so_often(monkeypatch):
    fitted = []
    live = Posterior(0.1, kept=0.5, every=10).build(context())
    monkeypatch.setattr(live, "refit", lambda: fitted.append(live.step))
    for step in range(1, 21):
        for key in ("a", "b"):  # two rounds of a step
            live.correct(said_of({key: [1.0, 0.0]}, step=step))
    assert sorted(set(fitted)) == [1, 2, 4, 10, 20]
    assert float(live.counts[0, 2][1]) == pytest.approx(2 * sum(0.5**i for i in range(20)))


def test_too_few_groups_fit_nothing():
    live = Posterior(0.1).build(context())
    live.correct(said_of({str(g): [1.0, 0.0] for g in range(7)}))
    assert live.fit.priors == ((1.0, 1.0),)
    live.correct(said_of({str(g): [1.0, 0.0] for g in range(7)}, step=2))
    assert live.fit.priors != ((1.0, 1.0),)


def test_a_memory_comes_back_bit_for_bit():
    """Through JSON, with groups of several sizes and two kinds; what comes after is the same, fits included."""
    part = Posterior(every=50)
    live = part.build(context())
    rounds(live, {"x": 0.8, "y": 0.2}, 2, 0.2, seed=4, size=5, datasets=("y", "x"))
    rounds(live, {"x": 0.8}, 1, 0.2, seed=5, size=3, datasets=("x",))
    again = part.build(context())
    again.load_state_dict(json.loads(json.dumps(live.state_dict())))
    for one in (live, again):
        rounds(one, {"x": 0.8, "z": 0.5}, 2, 0.2, seed=6, size=4, datasets=("z", "x"))
    told = said_of({"a": [1.0, 0.0, 0.0]}, step=9)
    assert values(live.correct(told)) == values(again.correct(told))
    assert live.state_dict() == again.state_dict() and live.reports() == again.reports()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"estimate": ()}, "verdicts are taken to be right"),
        ({"false_positives": 0.5}, "verdicts say nothing"),
        ({"estimate": ("swapped",)}, "exchanged_groups"),
        ({"every": 0}, "every be at least 1"),
    ],
)
def test_wrong_settings_say_what_is_meant(settings, words):
    with pytest.raises(CorrectionProblem, match=words):
        Posterior(**settings)


def test_a_third_value_is_refused():
    with pytest.raises(CorrectionProblem, match="knows two values"):
        Posterior().build(context()).correct(said_of({"a": [0.0, 0.5]}))
