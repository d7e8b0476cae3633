"""GAE against the O(T^2) double loop that DESIGN names as its oracle, and what it must not depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critica.functional.gae import (
    gae,
    gae_targets,
    length_adaptive_clamped,
    length_adaptive_decay,
    quantile_gae,
    terminal_weight,
)
from critica.functional.gather import compact, expand, move_rewards_to_sampled
from critica.functional.recursion import by_doubling, by_recursion, discounted_suffix_sums
from critica.functional.returns import discounted_returns

F64 = torch.float64


def oracle(rewards, values, bootstrap, node_index, mask, discount, decay):
    """A_i = sum_{j >= i} (discount decay)^{j-i} delta_j, spelled out with lists; one scalar value a token."""
    advantages = torch.zeros_like(values)
    for n in range(rewards.shape[0]):
        nodes = []
        for t in range(rewards.shape[1]):
            if mask[n, t]:
                if not nodes or nodes[-1]["name"] != int(node_index[n, t]):
                    nodes.append({"name": int(node_index[n, t]), "tokens": []})
                nodes[-1]["tokens"].append(t)
        lam = float(decay[n]) if isinstance(decay, torch.Tensor) else decay
        for i, node in enumerate(nodes):
            for j in range(i, len(nodes)):
                reward = sum(float(rewards[n, t]) for t in nodes[j]["tokens"])
                here = float(values[n, nodes[j]["tokens"][0]])
                later = float(bootstrap[n]) if j == len(nodes) - 1 else float(values[n, nodes[j + 1]["tokens"][0]])
                delta = reward + discount * later - here
                for t in node["tokens"]:
                    advantages[n, t] += (discount * lam) ** (j - i) * delta
    return advantages


def example(seed, rows=4, width=9, nodes=False, rewards_everywhere=True):
    source = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=source, dtype=F64)  # noqa: E731
    mask = torch.rand(rows, width, generator=source) < 0.6
    mask[:, 0] = False
    if nodes:
        steps = (torch.rand(rows, width, generator=source) < 0.4).long()
    else:
        steps = torch.ones(rows, width, dtype=torch.long)
    node_index = torch.where(mask, steps.cumsum(-1), -1)
    rewards = draw(rows, width) * mask
    return rewards, draw(rows, width), draw(rows), node_index, mask


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.5, 0.95, 1.0]), st.sampled_from([0.9, 1.0]))
@settings(max_examples=30)
def test_equals_the_double_loop(seed, nodes, decay, discount):
    case = example(seed, nodes=nodes)
    torch.testing.assert_close(gae(*case, discount, decay), oracle(*case, discount, decay), atol=1e-12, rtol=0)


@pytest.mark.parametrize("nodes", [False, True])
def test_decay_may_differ_by_row(nodes):
    case = example(3, nodes=nodes)
    decay = torch.tensor([0.0, 0.3, 0.97, 1.0], dtype=F64)
    torch.testing.assert_close(gae(*case, 0.99, decay), oracle(*case, 0.99, decay), atol=1e-12, rtol=0)


def test_the_two_scans_agree_with_their_definition():
    inputs = torch.randn(3, 70, 2, dtype=F64)
    for power in (torch.tensor(0.9, dtype=F64), torch.tensor([0.0, 0.5, 1.0], dtype=F64).reshape(3, 1, 1)):
        plain = torch.zeros_like(inputs)
        for t in range(70):
            for k in range(70 - t):
                plain[:, t] += (power.reshape(-1, 1) ** k if power.dim() else power**k) * inputs[:, t + k]
        torch.testing.assert_close(by_doubling(inputs, power), plain, atol=1e-12, rtol=0)
        torch.testing.assert_close(by_recursion(inputs, power), plain, atol=1e-12, rtol=0)


def test_long_rows_neither_overflow_nor_lose_the_start():
    for rows in (1, 100):  # doubling, then the recursion
        ones = torch.ones(rows, 3000)
        assert discounted_suffix_sums(ones, 0.5)[0, 0].item() == pytest.approx(2.0)
        assert discounted_suffix_sums(ones, 1.0)[0, 0].item() == 3000
    with pytest.raises(ValueError, match="outside"):
        discounted_suffix_sums(ones[:, :3], 1.5)


def test_hand_example_of_length_adaptive_gae():
    decay = length_adaptive_decay(torch.tensor([3]), 0.4)
    assert decay.item() == pytest.approx(1 / 6)
    mask = torch.tensor([[False, True, True, True]])
    rewards, values = torch.tensor([[0, 0, 0, 1.0]]), torch.tensor([[0, 0.2, 0.5, 0.8]])
    advantages = gae(rewards, values, torch.zeros(1), torch.tensor([[-1, 0, 1, 2]]), mask, 1.0, decay)
    assert advantages[0].tolist() == pytest.approx([0, 0.355556, 0.333333, 0.2], abs=1e-5)


def test_hand_example_with_a_tool_call_between():
    # Sampled 1, 2, then two context tokens, then 5. Rewards 1 and 2; V = .5, .25, .75; discount .5, lambda .5.
    mask = torch.tensor([[0, 1, 1, 0, 0, 1]], dtype=torch.bool)
    rewards = torch.tensor([[0, 0, 1.0, 0, 0, 2.0]])
    values = torch.tensor([[9, 0.5, 0.25, 9, 9, 0.75]])
    last = 2 + 0.5 * 4 - 0.75
    middle = 1 + 0.5 * 0.75 - 0.25 + 0.25 * last
    first = 0.5 * 0.25 - 0.5 + 0.25 * middle
    index = torch.tensor([[-1, 0, 1, -1, -1, 2]])
    advantages = gae(rewards, values, torch.tensor([4.0]), index, mask, 0.5, 0.5)
    assert advantages[0].tolist() == pytest.approx([0, first, middle, 0, 0, last])


def test_padding_and_context_change_no_bit():
    rewards, values, bootstrap, node_index, mask = example(5)
    plain = gae(rewards, values, bootstrap, node_index, mask, 0.99, 0.95)
    where = torch.tensor([0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 8, 8])  # some columns are repeated as unmasked ones
    fresh = torch.tensor([1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0], dtype=torch.bool)
    wide = [part[:, where] * fresh for part in (rewards, mask)]
    noisy = torch.where(fresh, values[:, where], 1e6)
    index = torch.where(fresh, node_index[:, where], -1)
    assert torch.equal(gae(wide[0], noisy, bootstrap, index, wide[1], 0.99, 0.95), plain[:, where] * fresh)


def test_rows_are_independent():
    case = example(6)
    whole = gae(*case, 0.99, 0.95)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(gae(*(part[order] for part in case), 0.99, 0.95), whole[order])
    parts = [gae(*(part[rows] for part in case), 0.99, 0.95) for rows in (slice(0, 1), slice(1, 4))]
    assert torch.equal(torch.cat(parts), whole)


def test_a_row_without_sampled_tokens_is_all_zero():
    rewards, values, bootstrap, node_index, mask = example(7)
    mask[1] = False
    result = gae(rewards * mask, values, bootstrap, node_index, mask, 1.0, 1.0)
    assert not result[1].any() and result[0].any()
    assert not gae(rewards * 0, values, bootstrap, node_index, mask & False, 1.0, 1.0).any()


def test_full_trace_gives_return_minus_value():
    rewards, values, bootstrap, node_index, mask = example(8)
    final = torch.zeros_like(rewards)
    last = (mask * torch.arange(9)).amax(-1)
    outcome = torch.tensor([1.0, 0.0, 1.0, -2.0], dtype=F64)
    final[torch.arange(4), last] = outcome
    nothing = torch.zeros(4, dtype=F64)
    advantages = gae(final, values, nothing, node_index, mask, 1.0, 1.0)
    torch.testing.assert_close(advantages, (outcome[:, None] - values) * mask)
    torch.testing.assert_close(gae_targets(advantages, values, mask), outcome[:, None] * mask)
    # With any rewards, discount and bootstrap: the discounted return minus the value.
    expected = (discounted_returns(rewards, mask, 0.9, bootstrap) - values) * mask
    torch.testing.assert_close(gae(rewards, values, bootstrap, node_index, mask, 0.9, 1.0), expected)


def test_returns_equal_the_double_loop():
    rewards, _, bootstrap, _, mask = example(9)
    expected = torch.zeros_like(rewards)
    for n in range(4):
        places = mask[n].nonzero()[:, 0].tolist()
        for i, t in enumerate(places):
            later = sum(0.8 ** (j - i) * rewards[n, s] for j, s in enumerate(places) if j >= i)
            expected[n, t] = later + 0.8 ** (len(places) - i) * bootstrap[n]
    torch.testing.assert_close(discounted_returns(rewards, mask, 0.8, bootstrap), expected)


@pytest.mark.parametrize("decay", [0.95, torch.tensor([0.2, 0.9, 1.0, 0.0], dtype=F64)])
@pytest.mark.parametrize("nodes", [False, True])
def test_the_mean_of_quantile_gae_is_the_gae_of_the_mean(decay, nodes):
    rewards, _, _, node_index, mask = example(10, nodes=nodes)
    values, bootstrap = torch.randn(4, 9, 7, dtype=F64), torch.randn(4, 7, dtype=F64)
    by_quantile = quantile_gae(rewards, values, bootstrap, node_index, mask, 0.99, decay)
    of_mean = gae(rewards, values.mean(-1), bootstrap.mean(-1), node_index, mask, 0.99, decay)
    torch.testing.assert_close(by_quantile.mean(-1), of_mean, atol=1e-14, rtol=0)
    for k in range(7):
        alone = gae(rewards, values[..., k], bootstrap[:, k], node_index, mask, 0.99, decay)
        torch.testing.assert_close(by_quantile[..., k], alone, atol=1e-13, rtol=0)


def test_full_trace_collapses_quantile_targets_to_the_return():
    rewards, _, _, node_index, mask = example(11)
    values, nothing = torch.randn(4, 9, 5, dtype=F64), torch.zeros(4, 5, dtype=F64)
    targets = gae_targets(quantile_gae(rewards, values, nothing, node_index, mask, 1.0, 1.0), values, mask)
    expected = discounted_returns(rewards, mask, 1.0, nothing[:, 0])
    torch.testing.assert_close(targets, expected[..., None].expand_as(targets))


def test_short_trace_averages_later_quantiles():
    # Y_t[k] = sum_{j>=1} (1 - lam) lam^(j-1) Q(s_{t+j})[k] + lam^(T-t) R: spec 1.6.2, here for T = 3 at t = 1.
    values, lam = torch.tensor([[[0.0, 0.0], [0.1, 0.5], [0.3, 0.9], [0.2, 0.6]]], dtype=F64), 0.8
    mask, rewards = torch.tensor([[False, True, True, True]]), torch.tensor([[0, 0, 0, 1.0]], dtype=F64)
    index = torch.tensor([[-1, 0, 1, 2]])
    advantages = quantile_gae(rewards, values, torch.zeros(1, 2, dtype=F64), index, mask, 1.0, lam)
    expected = (1 - lam) * values[0, 2] + (1 - lam) * lam * values[0, 3] + lam**2 * 1.0
    torch.testing.assert_close(gae_targets(advantages, values, mask)[0, 1], expected)


def test_rewards_outside_the_mask_are_refused_not_lost():
    rewards, values, bootstrap, node_index, mask = example(12)
    rewards[0, 0] = 1.0
    with pytest.raises(ValueError, match=r"row 0 has a reward at token 0.*move_rewards_to_sampled"):
        gae(rewards, values, bootstrap, node_index, mask, 1.0, 1.0)
    with pytest.raises(ValueError, match="move_rewards_to_sampled"):
        discounted_returns(rewards, mask, 1.0, bootstrap)


def test_unordered_nodes_are_refused():
    mask = torch.tensor([[False, True, True]])
    with pytest.raises(ValueError, match="node_index decreases along row 0"):
        gae(torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(1), torch.tensor([[-1, 1, 0]]), mask, 1.0, 1.0)


def test_context_rewards_move_to_the_token_that_caused_them():
    valid = torch.tensor([[1, 1, 1, 1, 1, 1, 0]], dtype=torch.bool)
    sampled = torch.tensor([[0, 1, 1, 0, 0, 1, 0]], dtype=torch.bool)
    rewards = torch.tensor([[0, 1.0, 2, 4, 8, 16, 0]])
    assert move_rewards_to_sampled(rewards, valid, sampled).tolist() == [[0, 1, 14, 0, 0, 16, 0]]
    rewards[0, 0] = 1
    with pytest.raises(ValueError, match="row 0 has a reward at token 0, before its first sampled token"):
        move_rewards_to_sampled(rewards, valid, sampled)
    with pytest.raises(ValueError, match="padding"):
        move_rewards_to_sampled(torch.tensor([[0, 0, 0, 0, 0, 0, 1.0]]), valid, sampled)


def test_compact_and_expand_undo_each_other_with_gradient():
    mask = example(13)[-1]
    values = torch.randn(4, 9, 2, dtype=F64, requires_grad=True)
    dense, lengths = compact(values, mask)
    assert lengths.tolist() == mask.sum(-1).tolist()
    for n in range(4):
        assert torch.equal(dense[n, : lengths[n]], values[n][mask[n]])
        assert not dense[n, lengths[n] :].any()
    back = expand(dense, mask)
    assert torch.equal(back, values * mask[..., None])
    back.square().sum().backward()
    assert torch.equal(values.grad, 2 * values.detach() * mask[..., None])


def test_length_adaptive_decay_clamps_and_says_so():
    lengths = torch.tensor([5, 20, 40, 0])
    assert length_adaptive_decay(lengths, 0.05).tolist() == pytest.approx([0, 0, 0.5, 0])
    assert length_adaptive_clamped(lengths, 0.05).tolist() == [True, False, False, True]
    assert length_adaptive_decay(lengths[:3], 1e12).tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(ValueError, match="alpha"):
        length_adaptive_decay(lengths, 0.0)


@pytest.mark.parametrize(("alpha", "weight"), [(0.4, 0.082), (1.5, 0.513)])
def test_terminal_weight_is_what_the_first_token_sees(alpha, weight):
    lengths = torch.tensor([4000])
    assert terminal_weight(length_adaptive_decay(lengths, alpha), lengths).item() == pytest.approx(weight, abs=1e-3)
    rewards, mask = torch.zeros(1, 7), torch.tensor([[False] + [True] * 6])
    rewards[0, -1] = 1
    seen = gae(rewards, torch.zeros(1, 7), torch.zeros(1), torch.arange(7)[None], mask, 1.0, 0.7)[0, 1]
    assert terminal_weight(0.7, torch.tensor([6])).item() == pytest.approx(seen.item())
