"""One number per step, however the rows were cut."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critica.functional.reduce import denominator, reduce
from critica.records.losses import Constant, LossTerm, SequenceMeanOfTokenMeans, SequenceMeanOfTokenSums, TokenMean

VALUES = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 128.0, 256.0]], dtype=torch.float64)
MASK = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        (TokenMean(), 35 / 3),
        (SequenceMeanOfTokenMeans(), (1.5 + 32) / 2),
        (SequenceMeanOfTokenSums(), 35 / 2),
        (Constant(10), 35 / 30),
    ],
)
def test_hand_numbers(reduction, expected):
    term = LossTerm("x", VALUES, MASK, 0.5, reduction)
    assert reduce(term, denominator(MASK, reduction)).item() == pytest.approx(0.5 * expected)


@given(
    st.integers(0, 10**6),
    st.sampled_from([TokenMean(), SequenceMeanOfTokenMeans(), SequenceMeanOfTokenSums(), Constant(7)]),
)
@settings(max_examples=30)
def test_microbatches_padding_and_order_never_change_the_number(seed, reduction):
    source = torch.Generator().manual_seed(seed)
    values = torch.randn(9, 6, generator=source, dtype=torch.float64)
    mask = torch.rand(9, 6, generator=source) < 0.4
    mask[0, 0] = True
    count = denominator(mask, reduction)
    whole = reduce(LossTerm("x", values, mask, 1.3, reduction), count)
    order = torch.randperm(9, generator=source)
    parts = []
    for rows in order.split([2, 1, 4, 2]):
        width = int(torch.randint(0, 4, (), generator=source))
        wide = torch.nn.functional.pad(values[rows], (0, width), value=float("nan"))
        wide_mask = torch.nn.functional.pad(mask[rows], (0, width))
        parts.append(reduce(LossTerm("x", wide, wide_mask, 1.3, reduction), count))
    assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-12)


def test_token_mean_is_the_mean_length_normalization():
    count = MASK.sum(-1).double()[:2]
    by_mean_length = (VALUES * MASK)[:2].sum(-1) / count.mean()
    assert reduce(
        LossTerm("x", VALUES, MASK, 1.0, TokenMean()), denominator(MASK, TokenMean())
    ).item() == pytest.approx(by_mean_length.mean().item())


def test_gradient_reaches_masked_values_only_and_survives_bad_numbers_elsewhere():
    values = torch.tensor([[1.0, float("nan")]], requires_grad=True)
    mask = torch.tensor([[True, False]])
    loss = reduce(LossTerm("x", values, mask, 3.0, TokenMean()), 2.0)
    loss.backward()
    assert loss.item() == 1.5
    assert values.grad.tolist() == [[1.5, 0.0]]


def test_nothing_to_train_is_zero_and_a_wrong_denominator_is_refused():
    values = torch.ones(1, 2, requires_grad=True)
    nothing = LossTerm("x", values, torch.zeros(1, 2, dtype=torch.bool), 1.0, TokenMean())
    loss = reduce(nothing, denominator(nothing.mask, TokenMean()))
    loss.backward()
    assert loss.item() == 0 and not values.grad.any()
    with pytest.raises(ValueError, match="'x' has tokens to train"):
        reduce(LossTerm("x", values, torch.ones(1, 2, dtype=torch.bool), 1.0, TokenMean()), 0.0)
