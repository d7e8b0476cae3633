"""Where rows decode: a grid of equal subgroups, so that siblings read their prompt's keys and values together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

SLACK = 1.1  # empty slots may cost at most this factor


@dataclass(frozen=True, slots=True)
class Grid:
    """U subgroups of G slots. `parents[u]` is the prompt of subgroup u; `rows[u G + g]` its row, -1 for nobody."""

    parents: Int[np.ndarray, "U"]
    rows: Int[np.ndarray, "slots"]
    size: int

    @property
    def filled(self) -> Int[np.ndarray, "slots"]:
        """`rows`, with the first row of its subgroup standing in for nobody: real numbers to compute with."""
        grid = self.rows.reshape(-1, self.size)
        return np.where(grid < 0, grid[:, :1], grid).reshape(-1)


def arrange(owners: Int[np.ndarray, "n"], rows: Int[np.ndarray, "n"]) -> Grid:
    """The largest subgroup size whose empty slots stay within `SLACK`; a group may become several subgroups.

    `owners[i]` is the prompt of row `rows[i]`. Size 1 never has an empty slot.
    """
    prompts, counts = np.unique(owners, return_counts=True)
    bound = SLACK * len(owners)
    sizes = (size for size in range(int(counts.max()), 1, -1) if (-(-counts // size) * size).sum() <= bound)
    size = next(sizes, 1)
    parts = -(-counts // size)
    places = np.full((int(parts.sum()), size), -1, dtype=np.int64)
    begin = 0
    for prompt, part in zip(prompts, parts, strict=True):
        members = rows[owners == prompt]
        places[begin : begin + part].reshape(-1)[: len(members)] = members
        begin += part
    return Grid(np.repeat(prompts, parts).astype(np.int64), places.reshape(-1), size)


@dataclass(slots=True)
class LayerCache:
    """One layer's keys and values: of the prompts [B K P d], shared; of the rows [U K G T d], their own."""

    prompt_keys: Float[Tensor, "B K P d"]
    prompt_values: Float[Tensor, "B K P d"]
    shared_keys: Float[Tensor, "UK P d"]
    shared_values: Float[Tensor, "UK P d"]
    keys: Float[Tensor, "U K G T d"]
    values: Float[Tensor, "U K G T d"]

    def regroup(self, grid: Grid, source: Int[Tensor, "slots"], old_size: int, written: int) -> None:
        """Move to another grid: slot i takes what the old slot source[i] had written."""
        parents = torch.from_numpy(grid.parents).to(self.keys.device)
        self.shared_keys, self.shared_values = (
            part[parents].flatten(0, 1) for part in (self.prompt_keys, self.prompt_values)
        )
        places = source.view(-1, 1, grid.size)
        heads = torch.arange(self.keys.shape[1], device=source.device).view(1, -1, 1)
        self.keys, self.values = (
            _moved(part, places // old_size, heads, places % old_size, written) for part in (self.keys, self.values)
        )


def _moved(part: Tensor, subgroup: Tensor, heads: Tensor, slot: Tensor, written: int) -> Tensor:
    made = part.new_empty((subgroup.shape[0], heads.shape[1], slot.shape[2], *part.shape[3:]))
    made[..., :written, :] = part[..., :written, :][subgroup, heads, slot]
    return made


def fresh(prompts: Sequence[tuple[Tensor, Tensor]], grid: Grid, steps: int) -> list[LayerCache]:
    """Caches around prefilled prompts, one (keys, values) pair [B K P d] a layer, with room for `steps` own tokens."""
    made = []
    for keys, values in prompts:
        parents = torch.from_numpy(grid.parents).to(keys.device)
        shape = (len(grid.parents), keys.shape[1], grid.size, steps, keys.shape[3])
        made.append(
            LayerCache(
                keys,
                values,
                keys[parents].flatten(0, 1),
                values[parents].flatten(0, 1),
                keys.new_empty(shape),
                values.new_empty(shape),
            )
        )
    return made
