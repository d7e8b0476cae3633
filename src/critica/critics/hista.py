"""The state as a region of hidden space: what samples earned whose hidden states had gone a similar way."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.functional.groups import group_mean, group_sizes, leave_one_out_mean
from critica.functional.neighbors import (
    neighbor_counts,
    neighbor_values,
    prefix_distances,
    smoothed,
    typical_distance,
)
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction, scatter_sampled
from critica.records.evidence import Evidence, HiddenStates

TABLE_CELLS = 1 << 23  # distances held at once, 32 MiB in float32


@dataclass(frozen=True, slots=True)
class HiddenNeighbors(CriticPart):
    """V(node) = mean outcome of the k prefixes of the group nearest in hidden space, weighted by 1 / distance.

    Hista (arXiv 2605.29782): the policy's last hidden states, smoothed by an exponential mean (`smoothing`), every
    `window_tokens`-th kept; a node every `interval_tokens` tokens; MinDistance between prefixes. k falls from
    `most` at the first node to `fewest`. Distances are divided by their median over the group, so that `floor`, below
    which no distance counts, is a share of it and carries over between models (the released 5 does not). The first
    node is the group's mean; a sample's own later prefixes never count, its own earlier and present ones do, unless
    `leave_one_out` removes the sample altogether.
    Use it for long free text with 8 samples a prompt or more; not with few samples, nor when answers are shorter than
    an interval, where it is the group mean. Use advantage=node_gae, or outcome. A pool counts every node once, so long
    answers weigh more. The median and k look at the whole answer, its length included, so that even without its own
    outcome a value is only nearly blind to what comes. Reduces to the mean over all nodes as floor and k grow.
    Costs the policy's states (free with one update a step) and G^2 (L / window)^2 D a prompt.
    """

    interval_tokens: int = 50
    window_tokens: int = 5
    smoothing: float = 0.7
    most: int = 66
    fewest: int = 6
    floor: float = 0.25
    power: float = 1.0
    leave_one_out: bool = False
    group_based: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.interval_tokens, self.window_tokens, self.fewest) < 1 or self.most < self.fewest:
            raise ValueError("interval_tokens, window_tokens and fewest must be at least 1, and most not below fewest")
        if not 0 <= self.smoothing < 1 or not self.floor > 0 or self.power < 0:
            raise ValueError("smoothing must lie in [0, 1), floor above 0, and power not below 0")

    def build(self, context: CriticContext) -> ValueCritic:
        return HiddenNeighborsCritic(self)


class HiddenNeighborsCritic(ValueCritic):
    """Looks for neighbors within each group; remembers nothing."""

    needs = frozenset({HiddenStates})

    def __init__(self, part: HiddenNeighbors) -> None:
        self.part = part

    @torch.no_grad()
    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        returns, known = told.per_token.double().sum(dim=(1, 2)), told.all_known
        lengths = batch.sampled_mask.sum(-1)
        first, support, defined = self._start(returns, known, batch.group_index)
        node = torch.where(batch.sampled_mask, (batch.sampled_mask.cumsum(-1) - 1) // self.part.interval_tokens, -1)
        count = max(1, int(node.max()) + 1)
        values = first[:, None].expand(-1, count).clone()
        behind = support.double()[:, None].expand(-1, count).clone()
        if count > 1:
            vectors = self._representation(batch, evidence[HiddenStates], lengths)
            for group in batch.group_index.unique().tolist():
                rows = ((batch.group_index == group) & known).nonzero()[:, 0]
                if len(rows):
                    self._fill(values, behind, vectors, rows, lengths[rows], returns[rows])
        mask = batch.sampled_mask & (defined & known)[:, None]
        dtype = batch.behavior_logprobs.dtype
        place = node.clamp(min=0)
        return ValuePrediction(
            values.gather(1, place).to(dtype).where(mask, 0.0), mask,
            bootstrap=batch.behavior_logprobs.new_zeros(batch.rows),
            support=behind.gather(1, place).to(dtype).where(mask, 0.0), uses_own_outcome=not self.part.leave_one_out,
            uses_siblings=True, nodes=node,
        )  # fmt: skip

    def _start(
        self, returns: Float[Tensor, "N"], known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]
    ) -> tuple[Float[Tensor, "N"], Int[Tensor, "N"], Bool[Tensor, "N"]]:
        """The value of the first node, how many stand behind it, and where there is one."""
        sizes = group_sizes(known, group_index)
        if self.part.leave_one_out:
            mean, defined = leave_one_out_mean(returns, known, group_index)
            return mean, sizes - 1, defined
        return group_mean(returns, known, group_index), sizes, sizes > 0

    def _representation(
        self, batch: TokenBatch, hidden: HiddenStates, lengths: Int[Tensor, "N"]
    ) -> Float[Tensor, "N R D"]:
        """Smoothed states from before the first sampled token to after the last, every `window_tokens`-th."""
        width = int(lengths.max()) + 1
        dense = torch.arange(width, device=lengths.device) < lengths[:, None]
        states = scatter_sampled(hidden.states.float(), dense)
        states[torch.arange(batch.rows, device=lengths.device), lengths] = hidden.bootstrap.float()
        return smoothed(states, self.part.smoothing)[:, :: self.part.window_tokens]

    def _fill(
        self,
        values: Float[Tensor, "N n"],
        behind: Float[Tensor, "N n"],
        vectors: Float[Tensor, "N R D"],
        rows: Int[Tensor, "g"],
        lengths: Int[Tensor, "g"],
        returns: Float[Tensor, "g"],
    ) -> None:
        """Put the values of one group's later nodes, and their support, in place."""
        interval = self.part.interval_tokens
        later = (lengths - 1) // interval  # nodes after the first that begin before the last token
        if int(later.max()) < 1:
            return
        index = torch.arange(int(later.max()) + 2, device=rows.device)  # the first node, the later ones, and the end
        ends = torch.minimum(index * interval, lengths[:, None]) // self.part.window_tokens + 1
        real = (index <= later[:, None] + 1).flatten()
        owner = torch.arange(len(rows), device=rows.device).repeat_interleave(len(index))
        position = index.repeat(len(rows))
        distances = self._distances(vectors[rows, : int(ends.max())], ends)
        same = owner[:, None] == owner
        pool = ~same if self.part.leave_one_out else ~(same & (position > position[:, None]))
        distances = distances / typical_distance(distances, ~same & real & real[:, None])
        wanted = neighbor_counts(position, later[owner] + 2, self.part.most, self.part.fewest)
        found, support = neighbor_values(
            distances, pool & real, returns[owner], wanted, self.part.floor, self.part.power
        )
        inner = (position > 0) & (position <= later[owner]) & (support > 0)
        values[rows[owner[inner]], position[inner]] = found[inner]
        behind[rows[owner[inner]], position[inner]] = support[inner].double()

    def _distances(self, kept: Float[Tensor, "g R D"], ends: Int[Tensor, "g c"]) -> Float[Tensor, "m m"]:
        """MinDistance between all nodes of the group, in pieces that fit."""
        size, reach = kept.shape[:2]
        step = max(1, TABLE_CELLS // max(1, size * reach * reach))
        parts = [
            prefix_distances(kept[i : i + step], kept, ends[i : i + step], ends).flatten(0, 1).flatten(1)
            for i in range(0, size, step)
        ]
        return torch.cat(parts).double()
