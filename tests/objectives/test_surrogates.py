"""Every surrogate in a policy loss: slope at ratio 1, known numbers, reductions to each other, and refused settings."""

import math

import pytest

from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import (
    ClippedRatio,
    ClippedShift,
    ClippedWeight,
    GammaWeight,
    GeometricMean,
    MaskedShift,
    PolicyGradient,
    SoftClip,
)
from critica.records.losses import SequenceMeanOfTokenMeans, SequenceMeanOfTokenSums
from objectives.losses_at import by_hand, learned

ALL = {
    "policy_gradient": PolicyGradient(),
    "clipped_ratio": ClippedRatio(0.2, 0.3, dual=3.0, cap=2.0),
    "clipped_shift": ClippedShift(),
    "masked_shift": MaskedShift(),
    "clipped_weight": ClippedWeight(0.5, 2.0),
    "soft_clip": SoftClip(),
    "geometric_mean": GeometricMean(),
    "gamma_weight": GammaWeight(),
}
ROWS = ["csss", "cs"]
POLICY = [-0.2, -1.0, -0.7, -0.4]
ADVANTAGE = [0.9, 0.9, 0.9, -1.3]


def off_policy(**changes):
    """A loss whose ratio is taken against the sampler, so that it is not 1 in the learner's first update."""
    return dict(center="behavior", mismatch=()) | changes


@pytest.mark.parametrize("level", ["token", "sequence_mean", "sequence_sum"])
@pytest.mark.parametrize("name", ALL)
def test_on_policy_every_surrogate_is_the_policy_gradient(name, level):
    if name == "geometric_mean" and level != "token":
        return
    objective = PolicyLoss(ALL[name], SequenceMeanOfTokenMeans(), level=level, mismatch=())
    _, gradient, _ = by_hand(objective, ROWS, POLICY, POLICY, POLICY, ADVANTAGE)
    assert gradient == pytest.approx([-0.9 / 3 / 2] * 3 + [1.3 / 2], abs=1e-12)


def test_the_capped_ratio_is_bounded_before_anything_else():
    proximal = [-0.2, -1.0, -0.7, -2.4]  # the last token became e^2 times likelier, and it is blamed
    loss = {cap: by_hand(PolicyLoss(ClippedRatio(cap=cap), mismatch=()), ROWS, POLICY, proximal, proximal, ADVANTAGE)
            for cap in (0.0, 2.0)}  # fmt: skip
    assert loss[0.0][0] == pytest.approx((-0.9 * 3 + 1.3 * math.exp(2)) / 4)
    assert loss[2.0][0] == pytest.approx((-0.9 * 3 + 1.3 * 2) / 4)
    assert loss[0.0][1][3] == pytest.approx(1.3 * math.exp(2) / 4) and loss[2.0][1][3] == 0


def test_clip_fractions_count_what_was_silenced():
    proximal = [-0.6, -1.0, -0.1, 0.2]  # ratios e^.4 (A > 0), 1, e^-.6 (A > 0), e^-.6 (A < 0)
    said = by_hand(PolicyLoss(ClippedRatio(), mismatch=()), ROWS, POLICY, proximal, proximal, ADVANTAGE)
    assert said[2]["policy/clip_fraction"] == pytest.approx(2 / 4)
    assert said[1][0] == 0 and said[1][3] == 0 and said[1][1] < 0 and said[1][2] < 0
    weights = by_hand(
        PolicyLoss(ClippedWeight(0.7, 1.2), mismatch=()), ROWS, POLICY, proximal, proximal, ADVANTAGE
    )  # fmt: skip
    assert weights[2]["policy/clip_fraction"] == pytest.approx(3 / 4)
    assert weights[1] == pytest.approx([-0.9 * 1.2 / 4, -0.9 / 4, -0.9 * 0.7 / 4, 1.3 * 0.7 / 4])


def test_masked_shift_by_hand():
    """prime-rl's default: probabilities are compared with the sampler's, and a dropped token keeps its drift term."""
    behavior = [math.log(0.5), math.log(0.3), math.log(0.4), math.log(0.9)]
    policy = [math.log(0.75), math.log(0.4), math.log(0.1), math.log(0.6)]  # shifts .25, .1, -.3, -.3
    objective = PolicyLoss(MaskedShift(width=0.2, drift=0.01), **off_policy())
    loss, gradient, said = by_hand(objective, ROWS, policy, [0.0] * 4, behavior, ADVANTAGE)
    logs = [math.log(a / b) for a, b in ((0.75, 0.5), (0.4, 0.3), (0.1, 0.4), (0.6, 0.9))]
    drift = [0.01 * x * x for x in logs]
    assert loss == pytest.approx((sum(drift) - 0.9 * (4 / 3) - 0.9 * 0.25) / 4)  # first and last are dropped
    expected = [0.02 * logs[0], 0.02 * logs[1] - 0.9 * 4 / 3, 0.02 * logs[2] - 0.9 * 0.25, 0.02 * logs[3]]
    assert gradient == pytest.approx([x / 4 for x in expected])
    assert said["policy/clip_fraction"] == pytest.approx(2 / 4)


def test_gamma_weights_by_the_sign_of_the_credit():
    proximal = [-0.7, -1.5, -1.2, 0.1]  # ratios e^.5, e^.5, e^.5 and e^-.5
    objective = PolicyLoss(GammaWeight(2.0, 3.0, 3.0, 2.0), mismatch=())
    _, gradient, _ = by_hand(objective, ROWS, POLICY, proximal, proximal, ADVANTAGE)
    up, down = math.exp(0.5), math.exp(-0.5)
    praised = math.exp(3 - 3 * up) * up**2
    blamed = math.exp(2 - 2 * down) * down**3
    assert gradient == pytest.approx([-0.9 * praised / 4] * 3 + [1.3 * blamed / 4])


# Reductions


def test_gspo_with_answers_of_one_token_is_ppo():
    one = ["cs", "cs", "cs"]
    logs, center, credit = [-0.3, -1.2, -0.9], [-0.9, -1.1, -0.2], [1.0, -2.0, 0.5]
    found = {
        level: by_hand(PolicyLoss(ClippedRatio(), SequenceMeanOfTokenMeans(), level, mismatch=()), one, logs, center,
                       center, credit)
        for level in ("token", "sequence_mean", "sequence_sum")
    }  # fmt: skip
    assert found["sequence_mean"] == found["token"] == found["sequence_sum"]
    assert found["token"][1][0] == 0  # clipped, so that the clip is part of what agrees


def test_gspo_gives_every_token_its_share_of_the_row_ratio():
    center = [-0.21, -1.0, -0.72, -0.4]
    _, gradient, _ = by_hand(
        PolicyLoss(ClippedRatio(0.5, 0.5), SequenceMeanOfTokenMeans(), "sequence_mean", mismatch=()),
        ROWS, POLICY, center, center, ADVANTAGE,
    )  # fmt: skip
    s = math.exp(0.03 / 3)
    assert gradient == pytest.approx([-s / 3 * 0.9 / 2] * 3 + [1.3 / 2])


def test_gspo_with_token_sums_is_luspo_the_loss_times_the_length():
    center = [-0.21, -1.0, -0.72, -0.4]
    means, sums = (
        by_hand(PolicyLoss(ClippedRatio(), reduction, "sequence_mean", mismatch=()), ROWS, POLICY, center, center,
                ADVANTAGE)
        for reduction in (SequenceMeanOfTokenMeans(), SequenceMeanOfTokenSums())
    )  # fmt: skip
    lengths = [3, 3, 3, 1]
    assert sums[1] == pytest.approx([length * x for length, x in zip(lengths, means[1], strict=True)])


def test_a_row_clipped_as_a_whole_is_silent_as_a_whole():
    center = [-0.2, -1.0, -1.9, -0.4]  # one token of the first row moved by 1.2 nats, the row's mean by 0.4
    token, row = (
        by_hand(PolicyLoss(ClippedRatio(), SequenceMeanOfTokenMeans(), level, mismatch=()), ROWS, POLICY, center,
                center, ADVANTAGE)[1]
        for level in ("token", "sequence_mean")
    )  # fmt: skip
    assert row[:3] == [0, 0, 0] and token[2] == 0 and token[0] < 0 and row[3] == token[3] != 0


def test_geometric_mean_without_clipping_is_gspo_without_clipping():
    center = [-0.9, -1.1, -0.2, -1.4]
    gmpo = PolicyLoss(GeometricMean(30.0, 30.0), SequenceMeanOfTokenMeans(), mismatch=())
    gspo = PolicyLoss(ClippedRatio(0.999, 1e9), SequenceMeanOfTokenMeans(), "sequence_mean", mismatch=())
    one, other = (by_hand(objective, ROWS, POLICY, center, center, ADVANTAGE) for objective in (gmpo, gspo))
    assert one[0] == pytest.approx(other[0]) and one[1] == pytest.approx(other[1])


def test_a_wide_shift_clip_is_the_plain_ratio():
    center = [-0.9, -1.1, -0.2, -1.4]
    shift = PolicyLoss(MaskedShift(width=0.999, drift=0.0), mismatch=())
    plain = PolicyLoss(ClippedRatio(0.999, 1e9), mismatch=())
    one, other = (by_hand(objective, ROWS, POLICY, center, center, ADVANTAGE) for objective in (shift, plain))
    assert one[1] == pytest.approx(other[1])


# Through the learner


@pytest.mark.parametrize("level", ["token", "sequence_mean", "sequence_sum"])
@pytest.mark.parametrize("name", ALL)
def test_cuts_order_and_padding_change_nothing(name, level):
    if name == "geometric_mean" and level != "token":
        return
    for center in (off_policy(), dict(mismatch=())):
        objective = PolicyLoss(ALL[name], SequenceMeanOfTokenMeans(), level, **center)
        whole, said = learned(objective)
        start, _ = learned(PolicyLoss(PolicyGradient(), mismatch=()))
        assert (whole["embed.weight"] - start["embed.weight"]).abs().max() > 1e-4  # it is no other loss
        for change in (dict(tokens=1), dict(tokens=12), dict(order=[4, 2, 0, 5, 3, 1]), dict(padding=3)):
            other, told = learned(objective, **change)
            for weight, value in whole.items():
                assert (other[weight] - value).abs().max() < 1e-12, change
            assert told["loss/policy"] == pytest.approx(said["loss/policy"], abs=1e-12)


# What is refused


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: ClippedRatio(low=1.0), "0 < low < 1"),
        (lambda: ClippedRatio(high=0.0), "high > 0"),
        (lambda: ClippedRatio(dual=1.0), "above 1"),
        (lambda: ClippedRatio(cap=1.2), "above 1 \\+ high"),
        (lambda: ClippedShift(width=1.0), "change of probability"),
        (lambda: MaskedShift(width=0.0), "width"),
        (lambda: MaskedShift(drift=-1.0), "drift"),
        (lambda: ClippedWeight(low=1.0), "low < 1 < high"),
        (lambda: ClippedWeight(high=1.0), "low < 1 < high"),
        (lambda: SoftClip(positive=0.0), "above 0"),
        (lambda: SoftClip(negative=0.0), "above 0"),
        (lambda: GeometricMean(high=0.0), "above 0"),
        (lambda: GammaWeight(negative_rate=0.0), "above 0"),
        (lambda: PolicyLoss(GeometricMean(), level="sequence_mean"), "level=token"),
        (lambda: PolicyLoss(PolicyGradient(), center="behavior"), "mismatch=\\[\\]"),
    ],
)
def test_settings_without_meaning_are_refused(made, says):
    with pytest.raises(ValueError, match=says):
        made()


def test_what_is_idle_with_one_update_is_said():
    assert not PolicyGradient().clips and all(one.clips for name, one in ALL.items() if name != "policy_gradient")
