"""A body that reads along: the states of the packed forward pass, looks ahead without a trace, rows that are let go."""

import pytest
import torch

from critica.policies import kernels
from critica.policies.families import read_stack
from critica.policies.follower import Follower
from critica.policies.forward import HiddenForward
from policies.policies_fixtures import tiny_model, token_batch

PROMPTS = ((3, 9, 4), (11, 5, 6, 7, 8), (12,))
OWNERS = (0, 0, 1, 2, 2)
WRITTEN = torch.tensor([[3, 4, 5, 6], [6, 5, 4, 3], [9, 9, 8, 7], [20, 21, 22, 23], [30, 3, 30, 3]])


def whole(model, tokens, prompt):
    """The state after prompt + tokens, from the training forward."""
    batch = token_batch([[(t, "c") for t in prompt] + [(t, "s") for t in tokens]], [0], [len(prompt)])
    return HiddenForward(model).final_states(batch)[0]


@pytest.fixture(params=[True, False], ids=["kernels", "torch"])
def model(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr("critica.policies.step.kernels_for", lambda weight: None)
    elif kernels.kernels().kernels is None:
        pytest.skip("no compiled kernels on this machine")
    return tiny_model("qwen3")


@torch.no_grad()
def test_states_are_those_of_the_forward_pass_and_a_look_ahead_leaves_no_trace(model):
    following = Follower(read_stack(model), PROMPTS, OWNERS, steps=4)
    for row, owner in enumerate(OWNERS):
        assert torch.allclose(following.states[row], whole(model, (), PROMPTS[owner]), atol=1e-4)
    for t in range(3):
        candidates = torch.stack((WRITTEN[:, t], 33 - WRITTEN[:, t], WRITTEN[:, t].flip(0)), 1)
        ahead = following.ahead(candidates)
        again = following.ahead(candidates.flip(1)).flip(1)
        assert torch.equal(ahead, again)
        following.read(WRITTEN[:, t])
        assert torch.equal(following.states, ahead[:, 0])
        for row, owner in enumerate(OWNERS):
            path = (*WRITTEN[row, :t].tolist(), int(candidates[row, 1]))
            assert torch.allclose(ahead[row, 1], whole(model, path, PROMPTS[owner]), atol=1e-4)


@torch.no_grad()
def test_rows_that_are_let_go_do_not_disturb_the_others(model):
    following = Follower(read_stack(model), PROMPTS, OWNERS, steps=4)
    following.read(WRITTEN[:, 0])
    following.keep(torch.tensor([0, 2, 4]))
    following.read(WRITTEN[[0, 2, 4], 1])
    following.keep(torch.tensor([1, 2]))
    following.ahead(torch.tensor([[5, 6], [7, 8]]))
    following.read(WRITTEN[[2, 4], 2])
    for place, row in enumerate((2, 4)):
        wanted = whole(model, WRITTEN[row, :3].tolist(), PROMPTS[OWNERS[row]])
        assert torch.allclose(following.states[place], wanted, atol=1e-4)


@torch.no_grad()
def test_a_body_without_a_head_can_be_followed_and_is_the_same(model):
    body = Follower(read_stack(model.model), PROMPTS, OWNERS, steps=2)
    full = Follower(read_stack(model), PROMPTS, OWNERS, steps=2)
    assert torch.equal(body.ahead(WRITTEN[:, :2]), full.ahead(WRITTEN[:, :2]))


def test_a_family_without_a_stack_is_refused():
    with pytest.warns(UserWarning, match="slower"):
        forward = HiddenForward(tiny_model("gpt2"))
    with pytest.raises(ValueError, match="cannot read along"):
        forward.follow(PROMPTS, OWNERS, 2)
