"""Tokens that count, gathered into a dense sequence and scattered back: context never stands in between."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def compact(
    values: Float[Tensor, "N T *K"], mask: Bool[Tensor, "N T"]
) -> tuple[Float[Tensor, "N L *K"], Int[Tensor, "N"]]:
    """The masked entries of each row, in order and left-aligned, zeros after them; and how many each row has.

    L is the largest count. Differentiable. `expand` undoes it.
    """
    lengths = mask.sum(-1)
    width = int(lengths.max()) if mask.shape[0] else 0
    source, destination = _places(mask, width)
    dense = values.new_zeros((mask.shape[0] * width, *values.shape[2:]))
    dense = dense.index_copy(0, destination, values.flatten(0, 1).index_select(0, source))
    return dense.unflatten(0, (mask.shape[0], width)), lengths


def expand(dense: Float[Tensor, "N L *K"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T *K"]:
    """Entries of `compact`'s result back on the grid, zeros where the mask is false. Differentiable."""
    source, destination = _places(mask, dense.shape[1])
    grid = dense.new_zeros((mask.numel(), *dense.shape[2:]))
    grid = grid.index_copy(0, source, dense.flatten(0, 1).index_select(0, destination))
    return grid.unflatten(0, tuple(mask.shape))


def move_rewards_to_sampled(
    rewards: Float[Tensor, "N T"], valid_mask: Bool[Tensor, "N T"], sampled_mask: Bool[Tensor, "N T"]
) -> Float[Tensor, "N T"]:
    """Give every reward on a context token to the last sampled token before it; a row's total never changes.

    Raises ValueError for a reward on padding, or before the first sampled token: no action caused it.
    """
    if bool((rewards[~valid_mask] != 0).any()):
        raise ValueError("move_rewards_to_sampled: padding carries a reward; place rewards on valid tokens only")
    positions = torch.arange(rewards.shape[1], device=rewards.device)
    owner = torch.where(sampled_mask, positions, -1).cummax(-1).values
    orphan = (owner < 0) & (rewards != 0)
    if bool(orphan.any()):
        row, token = orphan.nonzero()[0].tolist()
        raise ValueError(
            f"move_rewards_to_sampled: row {row} has a reward at token {token}, before its first sampled token: "
            "nothing the policy wrote caused it; place it on a sampled token"
        )
    return torch.zeros_like(rewards).scatter_add(1, owner.clamp(min=0), rewards)


def _places(mask: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Flat indices of the masked entries on the grid [N T], and in the dense array [N width]."""
    source = mask.flatten().nonzero().squeeze(-1)
    rows = torch.div(source, max(1, mask.shape[1]), rounding_mode="floor")
    ranks = (mask.cumsum(-1) - 1).flatten().index_select(0, source)
    return source, rows * width + ranks
