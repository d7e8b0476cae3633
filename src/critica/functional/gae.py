"""Generalized advantage estimation, defined once: gather the nodes, run the recursion, scatter back."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.gather import compact, expand, move_rewards_to_sampled
from critica.functional.recursion import discounted_suffix_sums
from critica.functional.returns import refuse_stray_rewards

__all__ = [
    "compact",
    "expand",
    "gae",
    "gae_targets",
    "length_adaptive_clamped",
    "length_adaptive_decay",
    "move_rewards_to_sampled",
    "quantile_gae",
    "terminal_weight",
]


def gae(
    rewards: Float[Tensor, "N T"],
    values: Float[Tensor, "N T *K"],
    bootstrap: Float[Tensor, "N *K"],
    node_index: Int[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    discount: float,
    decay: float | Float[Tensor, "N"],
) -> Float[Tensor, "N T *K"]:
    """A_i = delta_i + discount decay A_{i+1}, delta_i = r_i + discount V_{i+1} - V_i, over the nodes i of a row.

    A node is a run of masked tokens that share `node_index` (which never decreases along a row): its reward is the
    sum of theirs, its value is its first token's, and its advantage goes to all of them. The value after the last
    node is `bootstrap`: zero where the episode ended. Unmasked tokens are not there at all. `decay` (lambda) may
    differ by row. The result carries no gradient and is zero where the mask is false.

    Reduces to r_i + discount V_{i+1} - V_i at decay 0 and to the return minus V_i at decay 1; with decay 1,
    discount 1 and one final reward R, to R - V_i. Vectorized over rows, and over tokens where that measured faster
    (`recursion.py`). Schulman et al. 2016 (arXiv 1506.02438), eq. 16. Public libraries differ in what they do at
    context tokens: some reset the trace there, some discount across them; here they do not exist. Raises ValueError
    for a reward outside the mask or a decreasing `node_index`.
    """
    refuse_stray_rewards(rewards, mask, "gae")
    with torch.no_grad():
        dense_rewards, lengths = compact(rewards, mask)
        dense_values, _ = compact(values, mask)
        if dense_rewards.numel() == 0:
            return torch.zeros_like(values)
        starts = _node_starts(node_index, mask, lengths)
        if int(starts.sum()) == int(mask.sum()):
            return expand(_recursion(dense_rewards, dense_values, bootstrap, lengths, discount, decay), mask)
        node_values, counts = compact(dense_values, starts)
        node = (starts.cumsum(-1) - 1).clamp(min=0)
        node_rewards = torch.zeros_like(node_values[(..., *[0] * (values.dim() - 2))])
        node_rewards = node_rewards.scatter_add(1, node, dense_rewards)
        advantages = _recursion(node_rewards, node_values, bootstrap, counts, discount, decay)
        return expand(advantages.gather(1, _wide(node, advantages).expand(-1, -1, *advantages.shape[2:])), mask)


def quantile_gae(
    rewards: Float[Tensor, "N T"],
    values: Float[Tensor, "N T K"],
    bootstrap: Float[Tensor, "N K"],
    node_index: Int[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    discount: float,
    decay: float | Float[Tensor, "N"],
) -> Float[Tensor, "N T K"]:
    """`gae` on each quantile by itself: A[k] from values[..., k] (DVPO, arXiv 2512.03847, eq. 2).

    An approximation: adding quantile k of one state to quantile k of the next is right only for comonotone laws, so
    values + A is a quantile-wise average of the lambda-returns' laws, not their mixture. It is exact in the mean (the
    mean of A over K is `gae` of the mean over K) and collapses to a point at the return for decay = discount = 1.
    """
    return gae(rewards, values, bootstrap, node_index, mask, discount, decay)


def gae_targets(
    advantages: Float[Tensor, "N T *K"], values: Float[Tensor, "N T *K"], mask: Bool[Tensor, "N T"]
) -> Float[Tensor, "N T *K"]:
    """The lambda-return, advantage + value, on masked tokens; zero elsewhere. Token values must be node values."""
    return torch.where(_wide(mask, values), advantages + values, torch.zeros_like(values)).detach()


def length_adaptive_decay(lengths: Int[Tensor, "N"], alpha: float) -> Float[Tensor, "N"]:
    """lambda(l) = clamp(1 - 1 / (alpha l), 0, 1), so that the trace's reach 1 / (1 - lambda) is alpha l.

    `lengths` counts sampled tokens (not context). VAPO, arXiv 2504.05118. Rows with alpha l < 1 are clamped to 0:
    `length_adaptive_clamped` says which. An empty row counts as one token. fp64.
    """
    if not alpha > 0:
        raise ValueError(f"length_adaptive_decay: alpha must be above 0, got {alpha}")
    return (1 - 1 / (alpha * lengths.clamp(min=1).double())).clamp(0, 1)


def length_adaptive_clamped(lengths: Int[Tensor, "N"], alpha: float) -> Bool[Tensor, "N"]:
    """Rows for which 1 - 1 / (alpha l) is negative; their mean is the clamped share to report."""
    return alpha * lengths.clamp(min=1).double() < 1


def terminal_weight(decay: float | Float[Tensor, "N"], lengths: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """decay^(l - 1): how much of a reward on the last token reaches the first one's advantage (discount 1). fp64."""
    base = torch.as_tensor(decay, dtype=torch.float64, device=lengths.device)
    return base ** (lengths.clamp(min=1) - 1)


def _recursion(
    rewards: Float[Tensor, "N L"],
    values: Float[Tensor, "N L *K"],
    bootstrap: Float[Tensor, "N *K"],
    lengths: Int[Tensor, "N"],
    discount: float,
    decay: float | Float[Tensor, "N"],
) -> Float[Tensor, "N L *K"]:
    """GAE on dense rows; whatever lies after a row's length is ignored and stays zero."""
    width = rewards.shape[1]
    place = torch.arange(width, device=rewards.device)
    following = torch.cat((values[:, 1:], torch.zeros_like(values[:, :1])), 1)
    is_last = _wide(place == (lengths - 1).unsqueeze(-1), values)
    following = torch.where(is_last, bootstrap.unsqueeze(1), following)
    deltas = _wide(rewards, values) + discount * following - values
    deltas = torch.where(_wide(place < lengths.unsqueeze(-1), values), deltas, torch.zeros_like(deltas))
    return discounted_suffix_sums(deltas, discount * decay)


def _node_starts(
    node_index: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"], lengths: Int[Tensor, "N"]
) -> Bool[Tensor, "N L"]:
    """Which gathered tokens open a node."""
    dense = compact(node_index.double(), mask)[0]
    present = torch.arange(dense.shape[1], device=dense.device) < lengths.unsqueeze(-1)
    steps = dense.diff(dim=-1)
    if bool(((steps < 0) & present[:, 1:]).any()):
        row = int(((steps < 0) & present[:, 1:]).any(-1).nonzero()[0])
        raise ValueError(f"gae: node_index decreases along row {row}; number the nodes in the order they were written")
    return torch.cat((present[:, :1], (steps != 0) & present[:, 1:]), 1)


def _wide(flags: Tensor, values: Tensor) -> Tensor:
    """[N L] with trailing axes of length 1, to stand beside `values`."""
    return flags.reshape(*flags.shape, *([1] * (values.dim() - 2)))
