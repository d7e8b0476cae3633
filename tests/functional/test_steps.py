"""Where steps begin and end, and sums and backups over them, against lists written by hand."""

import pytest
import torch

from critica.functional.backups import backed_up
from critica.functional.prefix_names import prefix_names
from critica.functional.returns import discounted_returns
from critica.functional.steps import (
    Steps,
    closes_sentence,
    over_steps,
    rank_in_step,
    step_starts,
    step_sums,
    steps_after,
    token_runs,
)

MASK = torch.tensor([[False, True, True, False, True, True, True], [True, True, True, False, False, False, False]])
NODES = torch.tensor([[-1, 0, 0, -1, 1, 1, 2], [0, 1, 1, -1, -1, -1, -1]])


def test_runs_of_tokens_do_not_count_context():
    assert token_runs(MASK, 2).tolist() == [[-1, 0, 0, -1, 1, 1, 2], [0, 0, 1, -1, -1, -1, -1]]
    assert torch.equal(token_runs(MASK, 99), torch.where(MASK, 0, -1))


def test_a_step_ends_with_its_mark():
    ends = torch.tensor(
        [[True, False, True, False, False, True, True], [True, False, False, True, False, False, False]]
    )
    assert steps_after(ends, MASK).tolist() == NODES.tolist()  # marks on context and on the last token do nothing


def test_lines_are_cut_after_a_break_and_at_context():
    mask = torch.tensor([[False, True, True, True, False, True]])
    texts = (("ask", "one", "\n", "two", "tool", "three"),)
    assert Steps("lines").number(mask, texts).tolist() == [[-1, 0, 0, 1, -1, 2]]


@pytest.mark.parametrize(
    ("text", "following", "closes"),
    [
        (" end.", " Next", True),
        (" 3.", "14", False),
        (" 3.", "", True),
        (' said."', " So", True),
        ("why?", "\nBecause", True),
        ("word", " more", False),
        (". ", "Next", True),
        ("\n", "x", True),
        ("、", " x", False),
    ],
)
def test_the_end_of_a_sentence(text, following, closes):
    assert closes_sentence(text, following) is closes


def test_sentences_with_a_decimal_number():
    mask = torch.ones(1, 7, dtype=torch.bool)
    mask[0, 0] = False
    texts = (("?", "It", " is", " 3.", "14", ".", " Yes"),)
    assert Steps("sentences").number(mask, texts).tolist() == [[-1, 0, 0, 0, 0, 0, 1]]


def test_a_step_needs_a_token():
    with pytest.raises(ValueError, match="at least 1"):
        Steps("tokens", 0)


def test_starts_ranks_sums_and_spreading():
    starts = step_starts(NODES, MASK)
    assert starts.nonzero().tolist() == [[0, 1], [0, 4], [0, 6], [1, 0], [1, 1]]
    assert rank_in_step(NODES, MASK).tolist() == [[-1, 0, 1, -1, 0, 1, 0], [0, 0, 1, -1, -1, -1, -1]]
    values = torch.arange(14.0).reshape(2, 7)
    assert step_sums(values, NODES, MASK).tolist() == [[0, 3, 0, 0, 9, 0, 6], [7, 17, 0, 0, 0, 0, 0]]
    assert over_steps(values, NODES, MASK).tolist() == [[0, 1, 1, 0, 4, 4, 6], [7, 8, 8, 0, 0, 0, 0]]


def test_a_mask_that_opens_in_the_middle_of_a_step_starts_there():
    mask = MASK.clone()
    mask[0, 1] = False
    assert step_starts(NODES, mask)[0].nonzero()[:, 0].tolist() == [2, 4, 6]


def test_sums_pass_gradient_to_every_token_of_the_step():
    values = torch.zeros(2, 7, requires_grad=True)
    (step_sums(values, NODES, MASK) * torch.arange(14.0).reshape(2, 7)).sum().backward()
    assert values.grad.tolist() == [[0, 1, 1, 0, 4, 4, 6], [7, 8, 8, 0, 0, 0, 0]]


def test_backups_reach_to_the_next_place():
    rewards = torch.tensor([[0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0]])
    values = torch.tensor([[9.0, 10.0, 20.0, 9.0, 30.0, 40.0, 50.0]])
    mask, places = MASK[:1], torch.tensor([[False, True, False, False, True, False, True]])
    # from the back: 4; 3 + .5 * V = 28; 0 + .5 * 28 = 14; 2 + .5 * V(30) = 17; 1 + .5 * 17 = 9.5
    assert backed_up(rewards, values, places, mask, 0.5).tolist() == [[0, 9.5, 17, 0, 14, 28, 4]]


def test_backups_reduce_to_td_and_to_monte_carlo():
    torch.manual_seed(0)
    rewards, values = torch.rand(2, 7) * MASK, torch.rand(2, 7)
    nowhere = torch.zeros_like(MASK)
    returns = discounted_returns(rewards, MASK, 0.9, torch.zeros(2))
    assert torch.allclose(backed_up(rewards, values, nowhere, MASK, 0.9), returns)
    td = torch.zeros(2, 7)
    for row, places in enumerate([[1, 2, 4, 5, 6], [0, 1, 2]]):
        for place, after in zip(places, [*places[1:], None], strict=True):
            td[row, place] = rewards[row, place] + (0.9 * values[row, after] if after is not None else 0.0)
    assert torch.allclose(backed_up(rewards, values, MASK, MASK, 0.9), td)


def test_equal_prefixes_share_a_name_within_a_group_only():
    tokens = torch.tensor([[1, 2, 3, 4], [1, 2, 9, 4], [1, 2, 3, 0], [1, 2, 3, 4]])
    names = prefix_names(tokens, torch.tensor([4, 4, 3, 4]), torch.tensor([5, 5, 5, 8]))
    rows = names.tolist()
    assert rows[0][:3] == rows[1][:3] == rows[2][:3]  # before tokens 0, 1 and 2 nobody had parted
    assert rows[0][3] != rows[1][3] and rows[0][3] != rows[2][3]  # row 2 has ended
    assert not set(rows[0]) & set(rows[3])
    assert len({name for row in rows for name in row}) == 3 + 3 + 4
