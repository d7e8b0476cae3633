"""Whose row is whose: tasks and outcomes of a batch's rows, as critics with memory see them."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.evidence import Evidence, Groups
from critica.records.words import Task


def tasks_of_rows(batch: TokenBatch, evidence: Evidence) -> tuple[Task, ...]:
    """The task of each row, matched by trajectory id."""
    found = {t.trajectory_id: g.task for g in evidence[Groups].groups for t in g.trajectories}
    return tuple(found[name] for name in batch.trajectory_ids)


def waves_of_rows(batch: TokenBatch, evidence: Evidence) -> Int[Tensor, "N"]:
    """In which wave of its group each row was written, from 0: all 0 where whole groups were asked for at once."""
    found = {t.trajectory_id: g.wave_of(i) for g in evidence[Groups].groups for i, t in enumerate(g.trajectories)}
    return torch.tensor([found[name] for name in batch.trajectory_ids], dtype=torch.long, device=batch.device)


@dataclass(slots=True)
class Pending:
    """What `predict` saw, kept until `remember` is told of the same rows: a name of some kind for each row."""

    rows: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=())

    def keep(self, batch: TokenBatch, names: tuple[str, ...]) -> None:
        """Note the names of these rows; what was noted before is dropped."""
        self.rows, self.names = batch.trajectory_ids, names

    def take(self, batch: TokenBatch) -> tuple[str, ...]:
        """The names of these rows. Raises RuntimeError if nothing was predicted for just these rows."""
        if batch.trajectory_ids != self.rows:
            raise RuntimeError(
                "a critic was asked to remember rows that it was never shown: call predict with this very batch first"
            )
        return self.names


def scaled_returns(told: RewardBatch) -> tuple[Float[Tensor, "N"], Bool[Tensor, "N"]]:
    """Each row's whole return in units of the declared range (0 its low end, 1 its high end), fp64, and if it is known.

    Per-token costs are part of it, so that with them it can fall below 0. Unknown rows are 0.
    """
    low, span = reward_span(told)
    known = told.all_known
    returns = (told.per_token.double().sum(dim=(1, 2)) - low) / span
    return returns.where(known, torch.zeros_like(returns)), known


def reward_span(told: RewardBatch) -> tuple[float, float]:
    """(low, high - low) over all objectives; a range without extent counts as one unit wide."""
    low, high = sum(told.low), sum(told.high)
    return low, (high - low) if high > low else 1.0


def group_sums(values: Float[Tensor, "N"], group_index: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """The sum over each row's group, at every row."""
    member = torch.unique(group_index, return_inverse=True)[1]
    sums = values.new_zeros(int(member.max()) + 1 if member.numel() else 0)
    return sums.index_add(0, member, values).index_select(0, member)


def prompt_shares(
    known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"], wave: Int[Tensor, "N"]
) -> Float[Tensor, "N"]:
    """Weights of rows that make prompts count alike in a sum over the step, and add up to the known rows.

    A budget that gives hard prompts more samples would otherwise make the average prompt look hard. Of a group written
    in waves the first wave alone counts: how long the others went on depends on what was seen. All 1 where every
    group has one wave and one size.
    """
    sizes = torch.unique(group_index, return_counts=True)[1]
    if not bool(wave.any()) and bool((sizes == sizes[0]).all()):
        return known.double()
    chosen = (known & (wave == 0)).double()
    share = chosen / group_sums(chosen, group_index).clamp(min=1)
    return share * (known.sum() / share.sum().clamp(min=1e-300))
