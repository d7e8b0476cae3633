"""The arc tangent's bound: by hand, inside the range, and slower to fall silent than a sigmoid."""

import torch

from critica.functional.bounds import bounded


def test_bounded_by_hand():
    raw = torch.tensor([0.0, 1.0, -1.0, 1e9, -1e9])
    torch.testing.assert_close(bounded(raw, -1.0, 3.0), torch.tensor([1.0, 2.0, 0.0, 3.0, -1.0]))


def test_a_certain_wrong_value_can_still_turn():
    raw = torch.tensor([20.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(bounded(raw, 0.0, 1.0).sum(), raw)
    torch.testing.assert_close(slope, 1 / (torch.pi * (1 + raw.detach() ** 2)))
    (sigmoid,) = torch.autograd.grad(torch.sigmoid(raw).sum(), raw)
    assert float(slope) > 1e5 * float(sigmoid)
