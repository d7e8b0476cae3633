"""Rows read again after other words: which rows to compute, and where their states belong on the step's grid."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from critica.policies.base import Conversing, TrainablePolicy
from critica.records.arrays import TokenBatch
from critica.records.checks import require
from critica.records.devices import moved
from critica.records.views import ContextView, Reading, UnreadableView, ViewSpec
from critica.records.words import Group, SampledTurn, Task
from critica.rollout.tokenize import tokenize

TRIED = 64  # tasks that are tried before a run


@dataclass(frozen=True, slots=True)
class Reread:
    """The readings as rows of their own, and the step's tokens that they cover.

    `order[c]` is the place among the sampled tokens of `batch`, row-major, of the c-th covered token of the step.
    """

    batch: TokenBatch
    covers: Bool[Tensor, "N T"]
    order: Int[Tensor, "C"]


def reread(groups: tuple[Group, ...], batch: TokenBatch, spec: ContextView, policy: TrainablePolicy) -> Reread | None:
    """Every reading of these groups, whose tokens `batch` holds; None if the view has nothing to say about any.

    Raises `UnreadableView` if a reading does not fit into the model's context.
    """
    made, found = _rows(groups, spec, policy)
    if not made:
        return None
    other = moved(tokenize(tuple(made)), batch.device)
    _refuse_too_long(spec.name, int(other.lengths.max()), policy)
    cells = torch.cat([_cells(batch, row, reading) for row, reading in found])
    require(
        torch.equal(batch.token_ids.flatten()[cells], other.token_ids[other.sampled_mask]), spec,
        f"the readings of view {spec.name!r} hold other tokens than those that were sampled",
    )  # fmt: skip
    covers = torch.zeros(batch.sampled_mask.numel(), dtype=torch.bool, device=batch.device)
    covers[cells] = True
    return Reread(other, covers.reshape(batch.sampled_mask.shape), cells.argsort())


def _rows(
    groups: tuple[Group, ...], spec: ContextView, policy: TrainablePolicy
) -> tuple[list[Group], list[tuple[int, Reading]]]:
    """Readings that begin alike side by side, so that their opening is computed once, with the row each belongs to."""
    made: list[Group] = []
    found: list[tuple[int, Reading]] = []
    base = 0
    for group in groups:
        together: dict[tuple[int, ...], list[Reading]] = {}
        for reading in spec.readings(group, policy):  # type: ignore[arg-type]
            together.setdefault(reading.turns[0].token_ids, []).append(reading)
        for alike in together.values():
            rows = tuple(replace(group.trajectories[one.row], turns=one.turns) for one in alike)
            made.append(replace(group, trajectories=rows, waves=()))
            found += [(base + one.row, one) for one in alike]
        base += len(group.trajectories)
    return made, found


def _cells(batch: TokenBatch, row: int, reading: Reading) -> Int[Tensor, "c"]:
    """The places on the flattened grid of the tokens that this reading speaks about."""
    turns = [place for place, turn in enumerate(reading.turns) if isinstance(turn, SampledTurn)]
    spoken = torch.tensor(turns, device=batch.device)
    mask = torch.isin(batch.turn_index[row], spoken) & batch.sampled_mask[row]
    return mask.nonzero().squeeze(-1) + row * mask.numel()


def refuse_unreadable(
    views: Iterable[ViewSpec], tasks: Iterable[Task], policy: TrainablePolicy, new_tokens: int
) -> None:
    """Raise `UnreadableView` if one of the first of these tasks lacks what a view names, or becomes too long by it."""
    declared = [spec for spec in views if isinstance(spec, ContextView)]
    for task in islice(tasks, TRIED if declared else 0):
        for spec in declared:
            opening = len(policy.encode(spec.opening(task)))
            if not opening:
                raise UnreadableView(
                    f"the view {spec.name!r} puts no token in front of the answer: give it an instruction"
                )
            _refuse_too_long(spec.name, opening + new_tokens, policy)


def _refuse_too_long(name: str, tokens: int, policy: TrainablePolicy) -> None:
    if isinstance(policy, Conversing) and tokens > policy.context_length:
        raise UnreadableView(
            f"the view {name!r} makes a row of {tokens} tokens, and the policy's context holds"
            f" {policy.context_length}: shorten its instruction, lower sampling.max_new_tokens, or take a policy with a"
            " longer context"
        )
