"""Several objectives in one signal, by hand, and never outside of the range that is promised to the critic."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from critica.records.supervision import Scale
from critica.rollout.combine import LowerBound, NormalizeThenSum, Sum, graded_on

NAN = float("nan")


def apply(rule, rows, groups):
    outcome = torch.tensor(rows)
    return rule.apply(outcome, ~outcome.isnan(), torch.tensor(groups))


def test_a_weighted_sum():
    made = apply(Sum((1.0, -0.5)), [[1.0, 2.0], [0.0, NAN]], [0, 0])
    assert made.outcome[0].tolist() == [1.0, -1.0]
    assert made.outcome[1, 0] == 0.0 and math.isnan(made.outcome[1, 1])
    with pytest.raises(ValueError, match="3 entries for 2 objectives"):
        apply(Sum((1.0, 1.0, 1.0)), [[1.0, 2.0]], [0])


def test_each_objective_is_standardized_among_its_known_siblings_then_weighted():
    """Group 0 of objective 1: 10, 30 and unknown have mean 20 and deviation sqrt(200); group 1 does not vary."""
    rows = [[0.0, 10.0], [1.0, 30.0], [1.0, NAN], [5.0, 7.0], [5.0, 8.0]]
    made = apply(NormalizeThenSum((2.0, 1.0)), rows, [0, 0, 0, 1, 1])
    third = 1 / 3**0.5
    expected = [[-4 * third, -(0.5**0.5)], [2 * third, 0.5**0.5], [2 * third, NAN], [0, -(0.5**0.5)], [0, 0.5**0.5]]
    torch.testing.assert_close(made.outcome, torch.tensor(expected), atol=1e-5, rtol=0, equal_nan=True)
    assert made.stretch[:3, 0].tolist() == pytest.approx([2 * 3**0.5] * 3, rel=1e-5)
    assert made.stretch[3:, 0].tolist() == [0.0, 0.0]


def test_over_the_batch_groups_are_not_told_apart():
    rows = [[0.0], [1.0], [4.0], [3.0]]
    one = apply(NormalizeThenSum(unit="batch"), rows, [0, 0, 1, 1]).outcome
    assert one.squeeze(-1).tolist() == pytest.approx([x / (10 / 3) ** 0.5 for x in (-2, -1, 2, 1)], abs=1e-5)


def test_grades_swallow_small_differences():
    """PEARL with 3 grades on 0 .. 8: at 0, 4 and 8; 1.9 is as good as 0."""
    values = torch.tensor([0.0, 1.9, 2.1, 5.9, 8.0, NAN])
    known = ~values.isnan()
    assert graded_on(values, known, 3)[known].tolist() == [0.0, 0.0, 4.0, 4.0, 8.0]
    made = apply(NormalizeThenSum(levels=3), values[:5, None].tolist(), [0, 0, 1, 1, 1])
    assert made.outcome[:2, 0].tolist() == [0.0, 0.0]  # no variance is left
    assert made.outcome[2:, 0].tolist() == pytest.approx([-(1 / 3**0.5), -(1 / 3**0.5), 2 / 3**0.5], abs=1e-5)
    for levels in (1, -1):
        with pytest.raises(ValueError, match="at least 2 grades"):
            NormalizeThenSum(levels=levels)


def test_the_lower_bound_is_what_scorers_agree_on():
    """Mean .6 and deviation .2 of (.4, .6, .8): with k=1 .4; a row that one scorer left open stays unknown."""
    made = apply(LowerBound(), [[0.4, 0.6, 0.8], [0.5, 0.5, 0.5], [NAN, 1.0, 1.0]], [0, 0, 0])
    assert made.outcome[:2].sum(-1).tolist() == pytest.approx([0.4, 0.5], abs=1e-6)
    assert made.outcome.isnan().tolist()[2] == [True, False, False]
    assert float(apply(LowerBound(0.0), [[0.4, 0.6, 0.8]], [0]).outcome.sum()) == pytest.approx(0.6)
    pair = (Scale("a", 0.0, 1.0), Scale("b", 0.0, 1.0))
    for call in (lambda: apply(LowerBound(), [[1.0, 1.0]], [0]), lambda: LowerBound().reach(pair, 8, 8)):
        with pytest.raises(ValueError, match="three objectives"):
            call()


RULES = [
    Sum(), Sum((2.0, -1.0, 0.5)), NormalizeThenSum(), NormalizeThenSum((1.0, -3.0, 0.0)),
    NormalizeThenSum(unit="batch"), NormalizeThenSum(levels=3), LowerBound(), LowerBound(2.5),
]  # fmt: skip
SCALES = (Scale("a", 0.0, 1.0), Scale("b", -2.0, 5.0), Scale("c", 10.0, 11.0))


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(data=st.data())
def test_what_is_told_lies_within_reach(rule, data):
    """Random values in their scales, edges favored, some missing; groups of at most 4 in a step of at most 12."""
    shares = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1), st.just(NAN))
    rows = data.draw(st.lists(st.tuples(shares, shares, shares), min_size=1, max_size=12))
    outcome = torch.tensor([
        [scale.low + one * (scale.high - scale.low) for one, scale in zip(row, SCALES, strict=True)] for row in rows
    ])  # fmt: skip
    groups = torch.arange(len(rows)) // 4
    made = rule.apply(outcome, ~outcome.isnan(), groups)
    assert bool((made.outcome.isnan() == outcome.isnan()).all())
    reach = rule.reach(SCALES, 4, 12)
    low, high = math.fsum(scale.low for scale in reach), math.fsum(scale.high for scale in reach)
    told = made.outcome.sum(-1)
    told = told[~told.isnan()]
    assert bool((told >= low - 1e-4).all()) and bool((told <= high + 1e-4).all())
