"""Pair losses by hand, where each one rests on policies written out in full, and general preferences."""

import math
from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.functional.preferences import gaps
from critica.functional.reduce import denominator, reduce
from critica.objectives.base import TokenScores
from critica.objectives.pair_rules import Hinge, Logistic, SoftLogistic, SquaredGap
from critica.objectives.preference import PairLoss, log_ratios
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence, ReferenceLogprobs

F64 = torch.float64
ROCK_PAPER_SCISSORS = torch.tensor([[0.5, 0.0, 1.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.5]], dtype=F64)  # P(row > column)


def said(rows, groups, outcomes):
    """A batch, what was told of it, and credit for every token of the rows that anything is known about."""
    batch = token_batch(rows, groups)
    told = told_batch(batch, outcomes)
    told = replace(told, outcome=told.outcome.double(), per_token=told.per_token.double())
    mask = batch.sampled_mask & told.all_known[:, None]
    credit = Advantages(torch.zeros(mask.shape), mask, told.all_known & False, "test")
    return batch, told, credit


def scored(policy, proximal=None):
    entropies = torch.zeros_like(policy)
    return TokenScores(policy, policy.detach() if proximal is None else proximal, entropies)


def loss_of(objective, batch, told, credit, policy, initial=None, proximal=None):
    """The reduced loss, and what is reported."""
    evidence = Evidence() if initial is None else Evidence(ReferenceLogprobs("initial", initial))
    (term,), metrics = objective.terms(scored(policy, proximal), batch, credit, evidence, told)
    return reduce(term, max(1.0, denominator(term.mask, term.reduction))), {one.name: one.value for one in metrics}


def example():
    """Two prompts; of the first, row 1 beats rows 0 and 2, of the second row 4 beats row 3, and row 5 is unknown."""
    batch, told, credit = said(["css.", "csss", "cs..", "cs..", "css.", "css."], [0, 0, 0, 1, 1, 1],
                               [0.0, 1.0, 0.0, 0.2, 0.5, None])  # fmt: skip
    policy = torch.tensor(
        [
            [0, -1.0, -1.0, 9],
            [0, -0.5, -0.5, -1.0],
            [0, -2.0, 9, 9],
            [0, -1.0, 9, 9],
            [0, -1.0, -3.0, 9],
            [0, -7, -7, 9],
        ],
        dtype=F64,
    )
    initial = torch.tensor(
        [
            [0, -1.0, -1.5, 3],
            [0, -1.0, -1.0, -1.0],
            [0, -1.0, 3, 3],
            [0, -2.0, 3, 3],
            [0, -2.0, -2.5, 3],
            [0, -1, -1, 3],
        ],
        dtype=F64,
    )
    return batch, told, credit, policy, initial  # log-ratios: .5, 1, -1, 1, .5


def softplus(x):
    return math.log1p(math.exp(x))


def test_dpo_by_hand():
    batch, told, credit, policy, initial = example()
    found, metrics = loss_of(PairLoss(Logistic(0.5)), batch, told, credit, policy, initial)
    h = (1 - 0.5, 1 - -1, 0.5 - 1)
    assert float(found) == pytest.approx(sum(softplus(-0.5 * x) for x in h) / 3)
    assert metrics["policy/pairs"] == 3 and metrics["policy/pair_gap"] == pytest.approx(sum(h) / 3)
    assert metrics["policy/pair_accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("rule", "cost"),
    [
        (Logistic(0.5, wrong_labels=0.1), lambda h: 0.9 * softplus(-0.5 * h) + 0.1 * softplus(0.5 * h)),
        (SquaredGap(0.5), lambda h: (h - 1.0) ** 2),
        (Hinge(0.5), lambda h: max(0.0, 1 - 0.5 * h)),
    ],
)
def test_the_other_rules_by_hand(rule, cost):
    found, _ = loss_of(PairLoss(rule), *example())
    assert float(found) == pytest.approx((cost(0.5) + cost(2.0) + cost(-0.5)) / 3)


def test_soft_labels_by_hand():
    found, _ = loss_of(PairLoss(SoftLogistic(0.5)), *example())
    expected = 0.0
    for h, gap in ((0.5, 1.0), (2.0, 1.0), (-0.5, 0.3)):
        label = 1 / (1 + math.exp(-gap))
        expected += label * softplus(-0.5 * h) + (1 - label) * softplus(0.5 * h)
    assert float(found) == pytest.approx(expected / 3)


def test_which_pairs_count():
    def metrics(**changes):
        return loss_of(PairLoss(**changes), *example())[1]

    assert metrics(pairs="extremes")["policy/pairs"] == 2  # row 1 over row 0, the first of equals; row 4 over row 3
    assert metrics(pairs="extremes")["policy/pair_gap"] == pytest.approx((0.5 - 0.5) / 2)
    assert metrics(margin=0.3)["policy/pairs"] == 2 and metrics(margin=0.99)["policy/pairs"] == 2
    assert metrics(compare="wins")["policy/pairs"] == 3
    assert metrics(compare="wins", margin=0.8)["policy/pairs"] == 1  # shares of wins: .25, 1, .25; 0, 1


def test_no_pair_costs_nothing_and_moves_nothing():
    batch, told, credit = said(["cs", "cs", "cs"], [0, 0, 1], [1.0, 1.0, 0.0])
    policy = torch.tensor([[0, -1.0], [0, -2.0], [0, -3.0]], dtype=F64, requires_grad=True)
    found, metrics = loss_of(PairLoss(), batch, told, credit, policy, torch.zeros(3, 2, dtype=F64))
    found.backward()
    assert float(found.detach()) == 0.0 and not policy.grad.any() and metrics["policy/pairs"] == 0


def test_the_anchor_is_a_geometric_mixture():
    _, _, credit, policy, initial = example()
    start = policy - torch.tensor([0.0, 0.25, 0.5, 0.75], dtype=F64)
    evidence = Evidence(ReferenceLogprobs("initial", initial))
    old, first, mixed = (log_ratios(scored(policy, start), credit.mask, evidence, share) for share in (0.0, 1.0, 0.25))
    assert old.tolist() == pytest.approx([0.75, 1.5, 0.25, 0.25, 0.75, 0.0])
    assert first.tolist() == pytest.approx([0.5, 1.0, -1.0, 1.0, 0.5, 0.0])
    assert mixed.tolist() == pytest.approx((0.25 * first + 0.75 * old).tolist())
    assert PairLoss(initial_share=0.0).needs == frozenset() and ReferenceLogprobs in PairLoss().needs


@pytest.mark.parametrize("rule", [Logistic(0.3, 0.2), SquaredGap(0.3), SoftLogistic(0.3), Hinge(0.3)])
def test_the_slope_is_the_difference_of_the_loss(rule):
    batch, told, credit, policy, initial = example()
    objective = PairLoss(rule, initial_share=0.4)
    start = policy.detach() - 0.1

    def loss(logprobs):
        return loss_of(objective, batch, told, credit, logprobs, initial, start)[0]

    assert torch.autograd.gradcheck(loss, policy.clone().requires_grad_())


# Policies written out in full: one token an answer, every answer a row.


def every_answer(count, outcomes):
    return said(["cs"] * count, [0] * count, outcomes)


def grid(logs):
    return torch.stack((torch.zeros_like(logs), logs), -1)


def minimized(loss, start):
    """The law over answers that minimizes loss(log-probs [A]), from logits `start`."""
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-14, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss(torch.log_softmax(logits, -1))
        value.backward()
        return value

    optimizer.step(closure)
    return torch.softmax(logits.detach(), -1)


def resting(objective, preference, sampled, initial, start):
    """Where the objective's rule rests if pairs come from sampled x sampled and are ordered by `preference`."""
    count = len(sampled)
    _, _, credit = every_answer(count, [0.0] * count)
    evidence = Evidence(ReferenceLogprobs("initial", grid(initial.log())))
    weight = sampled[:, None] * sampled * preference
    told_gap = gaps(preference @ sampled)

    def loss(logs):
        ratio = log_ratios(scored(grid(logs), grid(start.log())), credit.mask, evidence, objective.initial_share)
        return (weight * objective.rule.values(gaps(ratio), told_gap)).sum()

    return minimized(loss, start.log())


def tilted(anchor, tilt):
    law = anchor * (tilt - tilt.max()).exp()
    return law / law.sum()


INITIAL = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
START = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=F64)
REWARD = torch.tensor([0.3, -0.5, 0.8, 0.0], dtype=F64)
BRADLEY_TERRY = torch.sigmoid(gaps(REWARD))


@pytest.mark.parametrize("sampled", [INITIAL, START])
def test_dpo_rests_at_the_tilted_reference_whatever_was_sampled(sampled):
    found = resting(PairLoss(Logistic(0.7)), BRADLEY_TERRY, sampled, INITIAL, START)
    assert torch.allclose(found, tilted(INITIAL, REWARD / 0.7), atol=1e-8)


def test_labels_told_wrong_at_a_known_rate_leave_dpo_where_it_was():
    flipped = 0.8 * BRADLEY_TERRY + 0.2 * BRADLEY_TERRY.T
    found = resting(PairLoss(Logistic(0.7)), flipped, START, INITIAL, START)
    assert not torch.allclose(found, tilted(INITIAL, REWARD / 0.7), atol=0.02)
    # one sure pair, labels right: expecting a tenth of wrong ones stops at log 9 / beta
    batch, told, credit = every_answer(2, [1.0, 0.0])
    even = torch.tensor([0.5, 0.5], dtype=F64)
    objective = PairLoss(Logistic(0.7, wrong_labels=0.1))
    found = minimized(lambda logs: loss_of(objective, batch, told, credit, grid(logs), grid(even.log()))[0], even.log())
    assert float((found[0] / found[1]).log()) == pytest.approx(math.log(9) / 0.7, abs=1e-7)


def test_a_hinge_stops_at_its_margin():
    batch, told, credit = every_answer(2, [1.0, 0.0])
    even = torch.tensor([0.5, 0.5], dtype=F64)
    found = minimized(
        lambda logs: loss_of(PairLoss(Hinge(0.5)), batch, told, credit, grid(logs), grid(even.log()))[0], even.log()
    )
    assert float((found[0] / found[1]).log()) >= 2 - 1e-9


def random_preference(seed, count=4):
    """A general preference: no scores stand behind it."""
    upper = torch.rand(count, count, generator=torch.Generator().manual_seed(seed), dtype=F64).triu(1)
    return upper + (1 - upper.T).tril(-1) + 0.5 * torch.eye(count, dtype=F64)


@pytest.mark.parametrize("share", [0.0, 1 / 3, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_inpo_rests_at_mirror_descents_closed_form(share, seed):
    """pi_{t+1} ~ exp(P(y > pi_t) / eta) pi_ref^(tau / eta) pi_t^(1 - tau / eta); no tau: pi_t alone; tau = eta: IPO."""
    eta, preference = 0.6, random_preference(seed)
    found = resting(PairLoss(SquaredGap(eta), initial_share=share), preference, START, INITIAL, START)
    expected = tilted(INITIAL**share * START ** (1 - share), (preference @ START) / eta)
    assert float((found - expected).abs().max()) < 1e-9


@pytest.mark.parametrize("seed", [0, 1])
def test_dnos_step_is_exponentiated_gradient_on_the_win_rate(seed):
    preference = random_preference(seed)
    found = resting(PairLoss(SoftLogistic(0.4), initial_share=0.0), preference, START, INITIAL, START)
    assert float((found - tilted(START, (preference @ START) / 0.4)).abs().max()) < 1e-8


def test_dno_from_told_rewards_rests_at_the_tilt_through_its_own_terms():
    batch, told, credit = every_answer(4, REWARD.tolist())
    objective = PairLoss(SoftLogistic(0.4), initial_share=0.0)
    found = minimized(
        lambda logs: loss_of(objective, batch, told, credit, grid(logs), None, grid(START.log()))[0], START.log()
    )
    exact = tilted(START, told.total / 0.4)
    assert float((found - exact).abs().max()) < 1e-8


def iterates(objective, steps, start, initial):
    found = [start]
    for _ in range(steps):
        found.append(resting(objective, ROCK_PAPER_SCISSORS, found[-1], initial, found[-1]))
    return torch.stack(found)


def test_cycles_average_to_nash_where_scores_see_nothing():
    """Rock, paper, scissors from (.6, .3, .1): no score orders them, so DPO stays; self-play goes around uniform."""
    start, even = torch.tensor([0.6, 0.3, 0.1], dtype=F64), torch.full((3,), 1 / 3, dtype=F64)
    still = resting(PairLoss(Logistic(0.5)), ROCK_PAPER_SCISSORS, even, start, start)
    assert torch.allclose(still, start, atol=1e-7)
    around = iterates(PairLoss(SoftLogistic(1.5), initial_share=0.0), 39, start, start)
    distance = (around - even).abs().sum(-1)
    assert float((around.mean(0) - even).abs().sum()) < 0.1 * float(distance[0])
    assert float(distance[-10:].max()) > float(distance[0])  # the iterates themselves do not settle
    settled = iterates(PairLoss(SquaredGap(1.0), initial_share=0.5), 12, start, even)
    assert float((settled[-1] - even).abs().sum()) < 2e-3  # with a pull to the initial policy the last one does


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Logistic(0.0), "above 0"),
        (lambda: SquaredGap(-1.0), "above 0"),
        (lambda: SoftLogistic(float("inf")), "finite"),
        (lambda: Logistic(0.1, 0.5), "exchange the labels"),
        (lambda: PairLoss(margin=-0.1), "at least 0"),
        (lambda: PairLoss(margin=1.0, compare="wins"), "below 1"),
        (lambda: PairLoss(initial_share=1.5), "start"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, what):
    with pytest.raises(ValueError, match=what):
        make()
