"""Differences, their attention, comparisons, and what shaping by them does to the best answer of a small game."""

import itertools

import pytest
import torch

from critica.functional.comparisons import bradley_terry, order_agreement, sibling_comparisons
from critica.functional.sentence_rewards import attention_weights, differences, response_score

PRESENT = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])


def test_weights_of_one_telescope_to_the_end_less_the_start():
    before = torch.tensor([[1.0, 4.0, 2.0], [3.0, 5.0, 0.0], [7.0, 0.0, 0.0]])
    after = torch.tensor([[4.0, 2.0, 9.0], [5.0, 1.0, 0.0], [6.5, 0.0, 0.0]])
    assert response_score(before, after, PRESENT.float()).tolist() == [8.0, -2.0, -0.5]
    weights = torch.tensor([[2.0, 0.5, 0.5], [2.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert response_score(before, after, weights).tolist() == [2 * 3 - 1 + 3.5, 4.0, -0.5]


def test_attention_has_mean_one_and_a_lone_sentence_gets_all():
    torch.manual_seed(0)
    weights = attention_weights(torch.randn(3, 5), torch.randn(3, 3, 5), PRESENT)
    assert weights.sum(-1).tolist() == pytest.approx([3.0, 2.0, 1.0], abs=1e-5)
    assert weights[2].tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert (weights[~PRESENT] == 0).all() and weights[0].std() > 0.05
    even = attention_weights(torch.zeros(3, 5), torch.randn(3, 3, 5), PRESENT)
    assert torch.allclose(even, PRESENT.float())


def test_attention_prefers_the_key_that_answers_the_query():
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    found = attention_weights(torch.tensor([[2.0, 0.0]]), keys, torch.ones(1, 3, dtype=torch.bool))[0]
    raw = torch.tensor([2.0, 0.0, -2.0]).div(2**0.5).softmax(0) * 3
    assert torch.allclose(found, raw)


def test_differences_by_hand():
    potential = torch.tensor([[1.0, 4.0, 2.0], [3.0, 5.0, 99.0], [7.0, 99.0, 99.0]])
    after = torch.tensor([9.0, 1.0, 6.5])
    assert differences(potential, after, PRESENT, False).tolist() == [[3, -2, 7], [2, -4, 0], [-0.5, 0, 0]]
    assert differences(potential, after, PRESENT, True).tolist() == [[3, -2, -2], [2, -5, 0], [-7, 0, 0]]


LENGTH, ARMS = 3, 2
LEAVES = list(itertools.product(range(ARMS), repeat=LENGTH))


def returns(absorbing, weights=None, weight=2.0):
    """Every answer's outcome plus dense rewards, in a tree of three binary choices with random values at its nodes."""
    torch.manual_seed(4)
    outcome = {leaf: float(torch.rand(())) for leaf in LEAVES}
    phi = {
        prefix: 3 * float(torch.randn(())) for n in range(LENGTH + 1) for prefix in itertools.product((0, 1), repeat=n)
    }
    potential = torch.tensor([[phi[leaf[:k]] for k in range(LENGTH)] for leaf in LEAVES])
    dense = differences(potential, torch.tensor([phi[leaf] for leaf in LEAVES]), torch.ones(8, 3).bool(), absorbing)
    if weights is not None:
        dense = dense * weights
    return torch.tensor([outcome[leaf] for leaf in LEAVES]), dense, weight


def best_policy(rewards):
    """The greedy choice at every prefix by dynamic programming over the rewards of whole answers [8 3]."""

    def value(prefix):
        if len(prefix) == LENGTH:
            return 0.0, {}
        found, choices = [], {}
        for arm in range(ARMS):
            row = next(i for i, leaf in enumerate(LEAVES) if leaf[: len(prefix) + 1] == (*prefix, arm))
            later, chosen = value((*prefix, arm))
            found.append(float(rewards[row, len(prefix)]) + later)
            choices |= chosen
        return max(found), choices | {prefix: int(found[1] > found[0])}

    return value(())[1]


def with_dense(absorbing, weights=None):
    outcome, dense, weight = returns(absorbing, weights)
    plain = torch.zeros(8, 3)
    plain[:, -1] = outcome
    return best_policy(plain), best_policy(plain + weight * dense)


def test_an_absorbing_potential_leaves_the_best_policy_at_every_prefix():
    plain, shaped = with_dense(absorbing=True)
    assert plain == shaped and len(plain) == 7


def test_the_published_last_difference_or_attention_may_change_it():
    plain, shaped = with_dense(absorbing=False)
    assert plain != shaped
    attention = torch.tensor([[2.4, 0.3, 0.3], [0.3, 2.4, 0.3], [0.3, 0.3, 2.4], [1.0, 1.0, 1.0]] * 2)
    outcome, dense, weight = returns(absorbing=True)
    telescoped = outcome + weight * dense.sum(-1)
    uneven = outcome + weight * (dense * attention).sum(-1)
    assert torch.equal(telescoped.argsort(), outcome.argsort()) and not torch.equal(uneven.argsort(), outcome.argsort())


def test_comparisons_are_of_known_siblings_that_fared_differently():
    outcome = torch.tensor([1.0, 0.0, 1.0, float("nan"), 0.0, 0.5])
    known = ~outcome.isnan()
    who, better, weights = sibling_comparisons(outcome, known, torch.tensor([0, 0, 0, 0, 1, 1]))
    pairs = {
        (n, int(who[n, s])): (float(better[n, s]), round(float(weights[n, s]), 3))
        for n in range(6) for s in range(who.shape[1]) if weights[n, s] > 0
    }  # fmt: skip
    assert pairs == {
        (0, 1): (1.0, 1.0), (1, 0): (0.0, 0.5), (1, 2): (0.0, 0.5), (2, 1): (1.0, 1.0),
        (4, 5): (0.0, 1.0), (5, 4): (1.0, 1.0),
    }  # fmt: skip


def test_bradley_terry_and_its_gradient_against_the_pair_by_pair_loss():
    torch.manual_seed(0)
    outcome = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    score = torch.randn(4, dtype=torch.float64, requires_grad=True)
    who, better, weights = sibling_comparisons(outcome, torch.ones(4).bool(), torch.zeros(4).long())
    loss = bradley_terry(score, score.detach()[who], better, weights)
    pairs = [(up, down) for up in (0, 3) for down in (1, 2)]
    direct = sum(-torch.nn.functional.logsigmoid(score[up] - score[down]) for up, down in pairs) / len(pairs)
    assert float(loss.mean().detach()) == pytest.approx(float(direct.detach()))
    (mine,) = torch.autograd.grad(loss.mean(), score, retain_graph=True)
    (theirs,) = torch.autograd.grad(direct, score)
    assert torch.allclose(2 * mine, theirs)
    assert theirs[0] < 0 < theirs[1]  # the better answer's score is raised


def test_agreement_counts_ties_half():
    score = torch.tensor([2.0, 1.0])
    opponents, better = torch.tensor([[1.0, 2.0], [2.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert order_agreement(score, opponents, better, torch.tensor([[0.5, 0.5], [1.0, 0.0]])) == (1.5, 3.0)
