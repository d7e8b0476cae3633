"""What was told, shrunk toward the critic: by hand, after everything else, and off where it should be."""

import pytest
import torch

from arrays import token_batch
from critica.records.arrays import ValuePrediction
from critica.records.evidence import Evidence
from critica.records.supervision import Abstained, Reward, Scale, Scored
from critica.rollout.combine import NormalizeThenSum
from critica.rollout.denoise import CannotDenoise, Denoise
from critica.rollout.place import Placement, SoftOverlong, place

BATCH = token_batch(["css", "cs.", "css"], [0, 0, 0])
UNIT = Scale("r", 0.0, 1.0)


def rewards(*values, source="r"):
    return tuple(
        Reward(source, f"t{n}", Abstained("?") if value is None else Scored(value)) for n, value in enumerate(values)
    )


def critic(values, own=False, speaks=True):
    """Says these values at each row's last sampled token, and 9 elsewhere; keeps what it was told."""
    seen = []

    def expect(told):
        seen.append(told)
        mean = torch.full(BATCH.token_ids.shape, 9.0)
        for row, value in enumerate(values):
            mean[row, int(BATCH.sampled_mask[row].nonzero()[-1])] = value
        return ValuePrediction(mean, BATCH.sampled_mask & speaks, mean[:, 0] * 0, uses_own_outcome=own)

    return expect, seen


def told(given, expect, step=20, weight=0.25, **settings):
    placement = Placement(denoise=Denoise(weight, 10), **settings)
    return place(given, BATCH, Evidence(), placement, UNIT, expect=expect, step=step)


def test_the_outcome_is_shrunk_toward_the_value_before_the_last_token():
    """.75 * 1 + .25 * .2, .75 * 0 + .25 * .6; unknown stays unknown."""
    expect, seen = critic([0.2, 0.6, 0.9])
    made = told(rewards(1.0, 0.0, None), expect)
    assert made.outcome[:2, 0].tolist() == pytest.approx([0.8, 0.15])
    assert made.outcome[2, 0].isnan() and not bool(made.known[2, 0])
    expected = torch.tensor([[0, 0, 0.8], [0, 0.15, 0], [0, 0, 0]])
    torch.testing.assert_close(made.per_token[..., 0], expected)
    assert seen[0].outcome[:2, 0].tolist() == [1.0, 0.0] and float(seen[0].per_token.sum()) == 1.0


def test_the_critic_speaks_about_the_sum_as_it_is_told():
    """Two objectives and a length penalty: shrunk is their total, not the first of them. By hand: 1 + 0 - .5 = .5."""
    expect, seen = critic([0.1, 0.1, 0.1])
    given = rewards(1.0, 1.0, 1.0) + rewards(0.0, 1.0, None, source="other")
    made = told(given, expect, overlong=SoftOverlong(2, 2, 0.5))
    totals = [0.5, 1.75]  # lengths 2 and 1 of 2: penalties .5 and .25
    assert seen[0].total[:2].tolist() == pytest.approx(totals)
    assert made.total[:2].tolist() == pytest.approx([0.75 * total + 0.025 for total in totals])
    assert made.per_token.sum((1, 2))[:2].tolist() == pytest.approx(made.total[:2].tolist())
    assert made.outcome[:2, 1].tolist() == [0.0, 1.0]
    assert made.total[2].isnan() and float(made.outcome[2, 0]) == pytest.approx(0.5)


def test_it_comes_after_the_scales_of_the_objectives():
    """Standardized outcomes of 1 and 0 are +-.7071, and the critic has learned to expect such."""
    expect, _ = critic([0.4, 0.4, 0.4])
    made = told(rewards(1.0, 0.0, None), expect, weight=0.5, combination=NormalizeThenSum())
    root = 0.5**0.5
    assert made.outcome[:2, 0].tolist() == pytest.approx([(root + 0.4) / 2, (0.4 - root) / 2], abs=1e-5)


def test_a_critic_that_says_nothing_changes_nothing():
    expect, _ = critic([0.2, 0.6, 0.9], speaks=False)
    assert told(rewards(1.0, 0.0, 1.0), expect).outcome[:, 0].tolist() == [1.0, 0.0, 1.0]


def test_an_echo_is_refused():
    expect, _ = critic([1.0, 0.0, 1.0], own=True)
    with pytest.raises(CannotDenoise, match="take a learned one"):
        told(rewards(1.0, 0.0, 1.0), expect)


def nobody(told):
    raise AssertionError("nobody asks the critic")


@pytest.mark.parametrize(("weight", "step"), [(0.0, 20), (0.5, 10), (0.5, 1)])
def test_without_weight_and_while_the_critic_learns_the_bits_are_the_same(weight, step):
    given = rewards(0.1, 1 / 3, None)
    plain = place(given, BATCH, Evidence(), Placement(), UNIT)
    made = told(given, nobody, step=step, weight=weight)
    for name in ("outcome", "per_token", "known", "confidence"):
        assert getattr(made, name).numpy().tobytes() == getattr(plain, name).numpy().tobytes()


def test_a_step_that_falls_back_to_outcomes_alone_does_not_ask_the_critic():
    placement = Placement(reference_kl=0.1, denoise=Denoise(0.5, 0)).without_models()
    made = place(rewards(1.0, 0.0, 1.0), BATCH, Evidence(), placement, UNIT, expect=nobody, step=5)
    assert made.outcome[:, 0].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("settings", [{"weight": 1.5}, {"after_steps": -1}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"placement\.denoise"):
        Denoise(**settings)
