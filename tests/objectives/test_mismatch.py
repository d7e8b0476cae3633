"""What tokens of another sampler count for: weights by hand, what is dropped, and that dropped losses cannot poison."""

import math

import pytest
import torch

from critica.objectives.mismatch import GeometricMask, Masked, Provenance, StaleRows, Truncated, weighed
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio, PolicyGradient
from objectives.losses_at import by_hand, learned

F64 = torch.float64
MASK = torch.tensor([[True, True, True], [True, True, False]])
# w = exp(proximal - behavior): 3, .5, 1 and 1.2, .25; behind the mask a huge one
W = torch.tensor([[3.0, 0.5, 1.0], [1.2, 0.25, 1e6]], dtype=F64)


def provenance(advantage=None, fallen=0.0):
    behavior = torch.full((2, 3), -1.0, dtype=F64)
    return Provenance(behavior - fallen, behavior + W.log(), behavior, torch.ones(2, 3, dtype=F64)
                      if advantage is None else advantage, MASK)  # fmt: skip


def weights(rule, **changes):
    return rule.weights(provenance(**changes))[MASK].tolist()


def test_truncated_by_hand():
    assert weights(Truncated(2.0)) == pytest.approx([2.0, 0.5, 1.0, 1.2, 0.25])
    assert weights(Truncated(1.4, per="sequence")) == pytest.approx([1.4, 1.4, 1.4, 0.3, 0.3])  # 1.5 and 0.3


def test_masked_by_hand():
    assert weights(Masked(0.4, 2.0)) == pytest.approx([0.0, 0.5, 1.0, 1.2, 0.0])
    assert weights(Masked(0.5, 2.0, per="sequence")) == pytest.approx([1.5, 1.5, 1.5, 0.0, 0.0])
    assert weights(Masked(0.2, 4.0)) == pytest.approx([3.0, 0.5, 1.0, 1.2, 0.25])


def test_a_geometric_mask_does_not_know_length():
    geometric = [1.5 ** (1 / 3), 0.3**0.5]
    assert weights(GeometricMask(0.5, 1.2)) == [1, 1, 1, 1, 1]
    assert weights(GeometricMask(0.5, 1.1)) == [0, 0, 0, 1, 1]
    assert weights(GeometricMask(0.6, 1.2)) == [1, 1, 1, 0, 0]
    assert geometric == pytest.approx([1.1447, 0.5477], abs=1e-4)


def test_stale_rows_are_bad_and_already_unlikely():
    credit = torch.tensor([[-1.0, -1, -1], [2, 2, 2]], dtype=F64)
    assert weights(StaleRows(0.5), advantage=credit, fallen=0.6) == [0, 0, 0, 1, 1]
    assert weights(StaleRows(0.5), advantage=credit, fallen=0.4) == [1] * 5
    assert weights(StaleRows(0.5), advantage=-credit, fallen=0.6) == [1, 1, 1, 0, 0]


def test_stale_rows_read_the_mean_over_the_mask():
    fallen = torch.tensor([[0.9, 0.9, -0.9], [0.8, 0.4, 500.0]], dtype=F64)  # means 0.3 and 0.6
    credit = torch.full((2, 3), -1.0, dtype=F64)
    assert weights(StaleRows(0.5), advantage=credit, fallen=fallen) == [1, 1, 1, 0, 0]


def test_rules_multiply_and_the_share_of_what_no_longer_counts_is_said():
    values = torch.tensor([[2.0, 2, 2], [2, torch.inf, torch.nan]], dtype=F64)
    kept, said = weighed(values, (Truncated(2.0), Masked(0.4, 4.0)), provenance())
    assert kept[0].tolist() == pytest.approx([2 * 2.0 * 3.0, 2 * 0.25, 2.0])
    assert kept[1, 0].item() == pytest.approx(2 * 1.2 * 1.2)
    assert kept[1, 1].item() == 0.0  # an infinite loss that is dropped is no NaN
    assert [(one.name, one.value) for one in said] == [("mismatch/dropped", pytest.approx(1 / 5))]
    plain, nothing = weighed(values, (), provenance())
    assert plain is values and nothing == ()


def test_weights_multiply_the_loss_and_are_no_path_for_gradient():
    rows, logs, credit = ["css"], [-0.5, -0.7], [1.0, 1.0]
    behavior = [-0.5 - math.log(1.5), -0.7 - math.log(9.0)]
    for surrogate in (PolicyGradient(), ClippedRatio()):
        found = by_hand(PolicyLoss(surrogate, mismatch=(Truncated(2.0),)), rows, logs, logs, behavior, credit)
        assert found[1] == pytest.approx([-1.5 / 2, -2.0 / 2])
        assert found[2]["mismatch/dropped"] == 0


def test_a_dropped_token_keeps_its_place_in_the_denominator():
    rows, logs, credit = ["css"], [-0.5, -0.7], [1.0, 1.0]
    behavior = [-0.5, -0.7 - math.log(9.0)]
    found = by_hand(PolicyLoss(PolicyGradient(), mismatch=(Masked(),)), rows, logs, logs, behavior, credit)
    assert found[1] == pytest.approx([-0.5, 0.0])
    assert found[2]["mismatch/dropped"] == 0.5


@pytest.mark.parametrize(
    "rules",
    [
        (Truncated(1.1),),
        (Truncated(1.1, "sequence"),),
        (Masked(0.9, 1.1),),
        (Masked(0.8, 1.3, "sequence"),),
        (GeometricMask(0.95, 1.05),),
        (StaleRows(0.0),),
        (Truncated(), StaleRows(0.1)),
    ],
)
def test_cuts_order_and_padding_change_nothing(rules):
    objective = PolicyLoss(ClippedRatio(), mismatch=rules)
    whole, said = learned(objective)
    plain, _ = learned(PolicyLoss(ClippedRatio(), mismatch=()))
    assert (whole["embed.weight"] - plain["embed.weight"]).abs().max() > 1e-4
    for change in (dict(tokens=1), dict(tokens=12), dict(order=[4, 2, 0, 5, 3, 1]), dict(padding=3)):
        other, told = learned(objective, **change)
        for name, value in whole.items():
            assert (other[name] - value).abs().max() < 1e-12, change
        assert told["mismatch/dropped"] == said["mismatch/dropped"]


@pytest.mark.parametrize(
    "made",
    [
        lambda: Truncated(0.9),
        lambda: Masked(1.1, 2.0),
        lambda: Masked(0.5, 0.9),
        lambda: Masked(-0.1, 2.0),
        lambda: GeometricMask(1.1, 2.0),
        lambda: GeometricMask(0.5, 0.99),
        lambda: StaleRows(-0.1),
    ],
)
def test_bounds_that_drop_what_is_on_policy_are_refused(made):
    with pytest.raises(ValueError):
        made()


def test_which_rules_bound_a_mismatch():
    assert PolicyLoss(PolicyGradient(), mismatch=(StaleRows(),)).bounds_mismatch is False
    assert PolicyLoss(PolicyGradient(), mismatch=(StaleRows(), Truncated())).bounds_mismatch is True
    assert PolicyLoss(PolicyGradient(), mismatch=()).bounds_mismatch is False
    assert PolicyLoss(PolicyGradient(), mismatch=(), center="behavior").bounds_mismatch is True
