"""What holds for every critic that counts: shifts, padding, and no bias in the gradient once the own outcome is out."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from arrays import told_batch
from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMeanCritic, LeaveOneOutCritic
from critica.critics.fused_value import FusedValue, FusedValueCritic
from critica.critics.hista import HiddenNeighbors, HiddenNeighborsCritic
from critica.critics.numca import NumberSets, NumberSetsCritic
from critica.critics.posterior import BetaPosterior, BetaPosteriorCritic
from critica.critics.prompt_value import PromptValue, PromptValueCritic
from critica.critics.tempo import PrefixTree, PrefixTreeCritic
from critica.records.evidence import Evidence, Groups, HiddenStates
from critics.counted_worlds import Speller, groups_of, written

PIECES = ["<p>", "1,", "2,", "3,"]
HISTA = {"interval_tokens": 1, "window_tokens": 1, "smoothing": 0.5}


def tree(leave_one_out):
    return PrefixTreeCritic(PrefixTree(leave_one_out=leave_one_out))


def numbers(leave_one_out):
    part = NumberSets(leave_one_out=leave_one_out, drop_last=False, states=0)
    return NumberSetsCritic(part, Speller(PIECES))


def neighbors(leave_one_out):
    return HiddenNeighborsCritic(HiddenNeighbors(**HISTA, leave_one_out=leave_one_out))


def evidence_of(batch):
    """Groups, and hidden states that are the same for the same tokens so far."""
    groups = groups_of(batch, [f"g{i}" for i in range(int(batch.group_index.max()) + 1)])
    table = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    sums = table[batch.token_ids * batch.valid_mask].cumsum(1)
    rows, places = batch.sampled_mask.nonzero(as_tuple=True)
    return Evidence(
        groups[Groups], HiddenStates(sums[rows, places - 1], sums[torch.arange(batch.rows), batch.lengths - 1])
    )


ROWS = [[1, 2, 3], [1, 2], [1, 3, 3], [2, 1, 1]]
OUTCOMES = [1.0, 0.0, 0.25, 1.0]


@pytest.mark.parametrize("make", [tree, numbers, neighbors])
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_a_constant_added_to_every_reward_is_added_to_every_value(make, leave_one_out):
    batch = written(ROWS, [0] * 4)
    plain, shifted = (
        make(leave_one_out).predict(batch, told_batch(batch, [value + c for value in OUTCOMES]), evidence_of(batch))
        for c in (0.0, 0.5)
    )
    torch.testing.assert_close(shifted.mean[batch.sampled_mask], plain.mean[batch.sampled_mask] + 0.5)


@pytest.mark.parametrize("make", [tree, numbers, neighbors])
def test_what_lies_in_the_padding_does_not_matter(make):
    batch = written(ROWS, [0] * 4)
    junk = replace(batch, token_ids=torch.where(batch.valid_mask, batch.token_ids, 3))
    told = told_batch(batch, OUTCOMES)
    first, second = (make(True).predict(each, told, evidence_of(batch)) for each in (batch, junk))
    assert torch.equal(first.mean, second.mean)


def expected_gradient(critic):
    """The exact expectation, over two samples of two tokens from a uniform policy, of sum_t grad log pi * advantage.

    Every pair of the nine answers is one group of two. Returns it and the true gradient of the mean outcome.
    """
    answers = list(product((1, 2, 3), repeat=2))
    value = dict(zip(answers, torch.rand(9, generator=torch.Generator().manual_seed(3)).tolist(), strict=True))
    rows = [list(answer) for pair in product(answers, repeat=2) for answer in pair]
    batch = written(rows, [i // 2 for i in range(len(rows))])
    told = told_batch(batch, [value[tuple(row)] for row in rows])
    evidence = evidence_of(batch)
    values = critic.predict(batch, told, evidence)
    given = Outcome("none").estimate(batch, told, replace(values, uses_siblings=False), evidence)
    assert given.mask[batch.sampled_mask].all()
    logits = {(): torch.zeros(3, requires_grad=True), **{(a,): torch.zeros(3, requires_grad=True) for a in (1, 2, 3)}}

    def logprob(row, t):
        return torch.log_softmax(logits[tuple(row[:t])], -1)[row[t] - 1]

    def gradient(loss):
        return torch.stack(torch.autograd.grad(loss, list(logits.values())))

    chosen = [[float(given.advantage[i, 1 + t]) for t in range(2)] for i in range(len(rows))]
    estimate = torch.stack([logprob(row, t) * chosen[i][t] for i, row in enumerate(rows) for t in range(2)]).sum()
    mean = torch.stack([(logprob(a, 0) + logprob(a, 1)).exp() * value[a] for a in answers]).sum()
    return gradient(estimate / len(rows)), gradient(mean)


def posterior():
    return BetaPosteriorCritic(BetaPosterior(siblings=True))


def prompt():
    return PromptValueCritic(PromptValue())


def fused():
    part = FusedValue()
    return FusedValueCritic(part, PromptValueCritic(part.prior))


@pytest.mark.parametrize(
    "critic",
    [LeaveOneOutCritic(), tree(True), numbers(True), posterior(), prompt(), fused()],
    ids=lambda c: type(c).__name__,
)
def test_a_critic_that_never_sees_the_own_outcome_leaves_the_gradient_unbiased(critic):
    estimate, true = expected_gradient(critic)
    torch.testing.assert_close(estimate, true, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "critic", [GroupMeanCritic(), tree(False), numbers(False), neighbors(False)], ids=lambda c: type(c).__name__
)
def test_one_that_does_shrinks_it(critic):
    estimate, true = expected_gradient(critic)
    assert float((estimate - true).norm()) > 0.1 * float(true.norm())
    assert float((estimate * true).sum()) > 0


def test_neighbors_without_oneself_are_nearly_unbiased():
    estimate, true = expected_gradient(neighbors(True))
    assert float((estimate - true).norm()) < 0.05 * float(true.norm())
