"""Siblings' outcomes as quantiles, by hand: own outcome in or out, unknown rows, lonely rows."""

import torch

from critica.functional.sibling_laws import sibling_quantiles

NAN = float("nan")
OUTCOME = torch.tensor([0.0, 1.0, 0.5, NAN, 0.3, NAN, 0.7])
KNOWN = ~OUTCOME.isnan()
GROUP = torch.tensor([4, 4, 4, 4, 9, 9, 2])


def test_leave_one_out_by_hand():
    quantiles, defined = sibling_quantiles(OUTCOME, KNOWN, GROUP, 2, leave_one_out=True)
    expected = torch.tensor([[0.5, 1.0], [0.0, 0.5], [0.0, 1.0], [0, 0], [0, 0], [0, 0], [0, 0]])
    torch.testing.assert_close(quantiles, expected)
    assert defined.tolist() == [True, True, True, False, False, False, False]


def test_with_its_own_outcome_by_hand():
    quantiles, defined = sibling_quantiles(OUTCOME, KNOWN, GROUP, 3, leave_one_out=False)
    torch.testing.assert_close(quantiles[:3], torch.tensor([[0.0, 0.5, 1.0]] * 3))
    torch.testing.assert_close(quantiles[4:], torch.tensor([[0.3] * 3, [0.0] * 3, [0.7] * 3]))
    assert defined.tolist() == [True, True, True, False, True, False, True]


def test_the_order_of_rows_does_not_matter():
    order = torch.tensor([5, 2, 6, 0, 3, 1, 4])
    quantiles, defined = sibling_quantiles(OUTCOME, KNOWN, GROUP, 5, leave_one_out=True)
    mixed, also = sibling_quantiles(OUTCOME[order], KNOWN[order], GROUP[order], 5, leave_one_out=True)
    assert torch.equal(mixed, quantiles[order]) and torch.equal(also, defined[order])
