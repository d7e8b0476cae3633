"""The seven numbers of a path, by hand, and that a state knows nothing of the token it stands before."""

import math

import torch

from critica.functional.surprise import SURPRISE_COLUMNS, surprise_columns

MASK = torch.tensor([[False, True, False, True, True], [False, True, False, False, False]])
SURPRISE = torch.tensor([[9.0, 1.0, 9.0, 3.0, 0.5], [9.0, 2.0, 9.0, 9.0, 9.0]]) * MASK
ENTROPY = torch.tensor([[9.0, 0.2, 9.0, 0.4, 0.6], [9.0, 0.1, 9.0, 9.0, 9.0]]) * MASK
FINAL = torch.tensor([0.8, 0.3])


def log1p(*values):
    return [math.log1p(value) for value in values]


def test_by_hand():
    before, ends = surprise_columns(SURPRISE, ENTROPY, FINAL, MASK)
    expected = torch.tensor([
        [0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0],
        [1.0, *log1p(1.0), 1.0, 0.4, *log1p(0.2, 1.0), 1.0],
        [3.0, *log1p(4.0), 3.0, 0.6, *log1p(0.6, 2.0), 2.0],
        [0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0],
    ])  # fmt: skip
    torch.testing.assert_close(before, expected)
    last = torch.tensor([
        [0.5, *log1p(4.5), 3.0, 0.8, *log1p(1.2, 3.0), 1.5],
        [2.0, *log1p(2.0), 2.0, 0.3, *log1p(0.1, 1.0), 2.0],
    ])  # fmt: skip
    torch.testing.assert_close(ends, last)
    assert before.shape[1] == SURPRISE_COLUMNS


def test_a_state_does_not_know_the_token_that_follows_it():
    before, _ = surprise_columns(SURPRISE, ENTROPY, FINAL, MASK)
    for place, state in ((1, 0), (3, 1), (4, 2)):
        changed = SURPRISE.clone()
        changed[0, place] += 5
        after, ends = surprise_columns(changed, ENTROPY, FINAL, MASK)
        assert torch.equal(after[: state + 1], before[: state + 1])
        assert not torch.equal(torch.cat([after[state + 1 : 3], ends[:1]])[0], before[min(state + 1, 2)])


def test_what_stands_on_context_and_padding_is_not_read():
    loud = torch.where(MASK, SURPRISE, 77.0), torch.where(MASK, ENTROPY, 77.0)
    for quiet, noisy in zip(
        surprise_columns(SURPRISE, ENTROPY, FINAL, MASK), surprise_columns(*loud, FINAL, MASK), strict=True
    ):
        torch.testing.assert_close(quiet, noisy)
