"""The stop rule while rows decode: by hand, the compiled pass against torch's bits, and rows that are left alone."""

import math

import pytest
import torch

from critica.policies import kernels
from critica.rollout import regrets
from critica.rollout.regrets import Regrets, StopRule

ROWS, VOCABULARY = 37, 101
RULE = StopRule(temperature=0.7, mean=0.9, variance=1.7, clip=5.0, smoothing=0.9, threshold=0.4)


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    """Each way of computing it."""
    if request.param == "torch":
        monkeypatch.setattr(regrets, "kernels_for", lambda logits: None)
    elif kernels.kernels().kernels is None:
        pytest.skip(kernels.kernels().reason)
    return request.param


def test_three_tokens_of_one_row_by_hand(path):
    """Logits 3, 1, 0 at temperature 2, mean 0, variance ~0.25, clip 4, smoothing .5; the value is .5, threshold 2."""
    told = Regrets(2, StopRule(2.0, 0.0, 0.25 - 1e-6, 4.0, 0.5, 2.0), torch.device("cpu"))
    logits, row, both = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([1]), torch.tensor([True])
    value, seen, stops = torch.tensor([0.5]), [], []
    for token in (1, 2, 0):  # regrets 1, 1.5, 0; standardized 2, 3, 0
        stops.append(told.step(logits, torch.tensor([token]), row, both, value))
        seen.append(float(told.signal[1]))
    assert seen == pytest.approx([1.0, 2.0, 1.0])
    assert [None if stop is None else stop.tolist() for stop in stops] == [None, [True], None]  # above 1, not at it
    assert told.signal[0] == 0 and told.sums.tolist() == [[0.0] * 3, [3.0, 2.5, 3.25]]


def test_a_slot_that_writes_no_more_changes_nothing_whatever_its_row(path):
    told = Regrets(2, RULE, torch.device("cpu"))
    logits, tokens = torch.tensor([[0.0, 9.0]] * 3), torch.tensor([0, 0, 0])
    writing = torch.tensor([False, True, False])
    stop = told.step(logits, tokens, torch.tensor([0, 1, 7]), writing, torch.zeros(3))
    assert stop is not None and stop.tolist() == [False, True, False]
    assert told.signal[0] == 0 and told.sums[0].tolist() == [0.0] * 3 and told.sums[1, 0] == 1


def test_without_values_it_counts_and_stops_nobody(path):
    told = Regrets(1, RULE, torch.device("cpu"))
    nobody = told.step(torch.tensor([[9.0, 0.0]]), torch.tensor([1]), torch.tensor([0]), torch.tensor([True]), None)
    assert nobody is None and told.signal[0] == 0
    assert told.sums[0].tolist() == pytest.approx([1, 9 / 0.7, (9 / 0.7) ** 2], rel=1e-6)


def steps(count, seed=0):
    """Random steps of a batch whose rows finish one by one; some logits are masked, and one row goes wrong."""
    made = torch.Generator().manual_seed(seed)
    writing = torch.ones(ROWS, dtype=torch.bool)
    for t in range(count):
        logits = 3 * torch.randn(ROWS, VOCABULARY, generator=made)
        logits[:, t % VOCABULARY] = -torch.inf
        logits[5, 50] = math.nan if t == 3 else 0.0
        tokens = torch.randint(VOCABULARY, (ROWS,), generator=made)
        tokens[tokens == t % VOCABULARY] = (t + 1) % VOCABULARY
        values = torch.randn(ROWS, generator=made)
        values[7] = math.nan
        yield logits, tokens, torch.arange(ROWS), writing, values
        writing = writing & (torch.rand(ROWS, generator=made) > 0.02)


@pytest.mark.parametrize("temperature", (0.0, 0.3, 1.0))
def test_the_compiled_pass_gives_torchs_bits(temperature, monkeypatch):
    if kernels.kernels().kernels is None:
        pytest.skip(kernels.kernels().reason)
    rule = StopRule(temperature, 0.123456789, 2.3456789, 5.0, 0.9, 0.7)
    fast, slow = (Regrets(ROWS, rule, torch.device("cpu")) for _ in range(2))
    stopped = 0
    for seen in steps(40):
        got = fast.step(*seen)
        with monkeypatch.context() as without:
            without.setattr(regrets, "kernels_for", lambda logits: None)
            wanted = slow.step(*seen)
        assert (got is None) == (wanted is None)
        if got is not None:
            assert torch.equal(got, wanted)
            stopped += int(got.sum())
        assert torch.equal(fast.signal.nan_to_num(99.0), slow.signal.nan_to_num(99.0))
        assert torch.equal(fast.sums.nan_to_num(-1.0), slow.sums.nan_to_num(-1.0))
    assert stopped > 100 and fast.signal[5].isnan() and not fast.signal[4].isnan()


def test_a_row_of_another_call_is_refused(path):
    told = Regrets(2, RULE, torch.device("cpu"))
    with pytest.raises((IndexError, RuntimeError)):
        told.step(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([2]), torch.tensor([True]), None)
