"""Group regression by hand, its minimizer for any sampling law, and what it is a quarter of."""

import pytest
import torch

from critica.functional.preferences import gaps
from critica.objectives.pair_rules import SquaredGap
from critica.objectives.preference import PairLoss
from critica.objectives.regression import GroupRegression
from critica.records.arrays import Advantages
from critica.records.evidence import ReferenceLogprobs
from objectives.test_preference import (
    F64,
    INITIAL,
    REWARD,
    START,
    example,
    grid,
    loss_of,
    minimized,
    random_preference,
    resting,
    said,
    tilted,
)


def test_by_hand():
    batch, told, credit, policy, initial = example()
    found, metrics = loss_of(GroupRegression(0.5, 1.0), batch, told, credit, policy, initial)
    # beta log-ratios .25, .5, -.5 and outcomes 0, 1, 0; then .5, .25 and .2, .5
    first = [0.25 - 0.0, 0.5 - 1.0, -0.5 - 0.0]
    second = [0.5 - 0.2, 0.25 - 0.5]
    squares = [sum((x - sum(e) / len(e)) ** 2 for x in e) / (2 * (len(e) - 1)) for e in (first, second)]
    assert float(found) == pytest.approx((3 * squares[0] + 2 * squares[1]) / 5)
    spread = [1 / 3, 5 / 6, 7 / 6, 0.25, 0.25]  # of log-ratios .5, 1, -1 and 1, .5 from their means
    assert metrics["policy/ratio_spread"] == pytest.approx(sum(spread) / 5)


def test_it_is_a_quarter_of_the_mean_over_pairs():
    torch.manual_seed(0)
    batch, told, credit = said(["cs"] * 5, [0] * 5, [0.3, 0.9, 0.1, 0.4, 0.4])
    policy, initial = torch.randn(5, 2, dtype=F64), torch.randn(5, 2, dtype=F64)
    found, _ = loss_of(GroupRegression(0.7, 1.0), batch, told, credit, policy, initial)
    ratio = (policy - initial)[:, 1]
    pairs = (0.7 * gaps(ratio) - gaps(told.total)).square()
    assert float(found) == pytest.approx(float(pairs.sum() / 20 / 4))


def test_the_slope_is_the_difference_of_the_loss():
    batch, told, credit, policy, initial = example()
    objective = GroupRegression(0.3, 0.4)

    def loss(logprobs):
        return loss_of(objective, batch, told, credit, logprobs, initial, policy.detach() - 0.1)[0]

    assert torch.autograd.gradcheck(loss, policy.clone().requires_grad_())


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (5, 1, 2, 3), (1, 9, 1, 1)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_whatever_law_was_sampled_it_rests_at_the_optimum_of_reward_less_kl(counts, share):
    arms = [arm for arm, count in enumerate(counts) for _ in range(count)]
    batch, told, credit = said(["cs"] * len(arms), [0] * len(arms), [float(REWARD[arm]) for arm in arms])
    initial, start = grid(INITIAL.log()[arms]), grid(START.log()[arms])
    objective = GroupRegression(0.6, share)
    found = minimized(
        lambda logs: loss_of(objective, batch, told, credit, grid(logs[arms]), initial, start)[0], START.log()
    )
    anchor = INITIAL**share * START ** (1 - share)
    exact = tilted(anchor, REWARD.float().double() / 0.6)
    assert float((found - exact).abs().max()) < 1e-9


def test_on_win_rates_it_rests_where_inpo_does():
    """(h - (w_i - w_j) / eta)^2 over all pairs has INPO's minimizer: the order of each pair is not needed."""
    preference, eta = random_preference(3), 0.5
    expected = resting(PairLoss(SquaredGap(eta), initial_share=0.4), preference, START, INITIAL, START)
    arms = [0] * 4 + [1] * 3 + [2] * 2 + [3]  # ten draws in exactly the proportions of START
    wins = preference @ START
    batch, told, credit = said(["cs"] * 10, [0] * 10, [float(wins[arm]) for arm in arms])
    initial, start = grid(INITIAL.log()[arms]), grid(START.log()[arms])
    found = minimized(
        lambda logs: loss_of(GroupRegression(eta, 0.4), batch, told, credit, grid(logs[arms]), initial, start)[0],
        START.log(),
    )
    assert float((found - expected).abs().max()) < 1e-7  # outcomes are told in fp32


def test_what_is_charged_per_token_counts_as_outcome_and_what_is_unknown_does_not():
    batch, told, credit, policy, initial = example()
    told.per_token[0, 1, 0] -= 0.25
    charged, _ = loss_of(GroupRegression(0.5, 1.0), batch, told, credit, policy, initial)
    batch, cheaper, credit, policy, initial = example()
    cheaper.outcome[0, 0] = -0.25
    cheaper.per_token[0, 2, 0] = -0.25
    same, _ = loss_of(GroupRegression(0.5, 1.0), batch, cheaper, credit, policy, initial)
    assert float(charged) == pytest.approx(float(same))
    policy[5] = 50.0  # nobody knows how it fared
    again, _ = loss_of(GroupRegression(0.5, 1.0), batch, cheaper, credit, policy, initial)
    assert float(again) == pytest.approx(float(same))


def test_an_answer_alone_is_compared_with_nobody():
    batch, told, credit = said(["cs", "cs"], [0, 1], [1.0, 0.0])
    policy = torch.randn(2, 2, dtype=F64, requires_grad=True)
    found, _ = loss_of(GroupRegression(0.5), batch, told, credit, policy)
    found.backward()
    assert float(found.detach()) == 0.0 and not policy.grad.any()


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        GroupRegression(0.0)
    with pytest.raises(ValueError, match="initial_share"):
        GroupRegression(0.1, -0.5)
    assert GroupRegression().needs == frozenset() and ReferenceLogprobs in GroupRegression(0.1, 0.5).needs


def test_rows_that_are_not_trained_take_no_part():
    batch, told, credit, policy, initial = example()
    mask = credit.mask.clone()
    mask[2] = False
    fewer = Advantages(credit.advantage, mask, credit.zero_variance, "test")
    found, _ = loss_of(GroupRegression(0.5, 1.0), batch, told, fewer, policy, initial)
    apart = (0.25 - 0.5 - (0.0 - 1.0)) ** 2 / 4, (0.5 - 0.25 - (0.2 - 0.5)) ** 2 / 4
    assert float(found) == pytest.approx(sum(apart) / 2)
