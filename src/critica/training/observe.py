"""Compute what the parts declared that they need, nothing else."""

from pathlib import Path

import torch

from critica.environments.base import Environment
from critica.functional.logprobs import token_logprobs
from critica.policies.base import TrainablePolicy
from critica.policies.batching import microbatches
from critica.policies.kept import KeptStates
from critica.records.arrays import TokenBatch, scatter_sampled
from critica.records.evidence import (
    Continuations,
    Evidence,
    EvidenceItem,
    Groups,
    HiddenStates,
    ProximalLogprobs,
    ReferenceLogprobs,
    Snapshots,
    Teachers,
    View,
)
from critica.records.protocols import Continues, Restorable
from critica.records.words import Group

SUPPLIED = frozenset({HiddenStates, ReferenceLogprobs, ProximalLogprobs, Groups, Continuations, Snapshots, Teachers})


class UnmetNeed(ValueError):
    """A part needs evidence that nothing here supplies."""


def require_supplied(needs: frozenset[type]) -> None:
    """Refuse, before the run starts, a need that `observe` cannot meet."""
    unknown = sorted(need.__name__ for need in needs - SUPPLIED)
    if unknown:
        raise UnmetNeed(
            f"a part needs {', '.join(unknown)}, which this loop does not supply;"
            f" it can supply {', '.join(sorted(kind.__name__ for kind in SUPPLIED))}"
        )


def restorable(environment: Environment | None) -> Restorable:
    """The environment, if it can be put back to an earlier state. Raises `UnmetNeed`."""
    if not isinstance(environment, Restorable):
        named = f"the environment {environment.name!r}" if environment is not None else "what is given here"
        raise UnmetNeed(
            f"a part needs Snapshots, and {named} cannot be put back to an earlier state: take a token game"
            " (--environment digit_sum, binary_tree, chain or two_branch), or a critic that needs no simulator"
        )
    return environment


class Observer:
    """Holds the frozen reference, if any part needs it, and reads the policy without gradient."""

    def __init__(
        self,
        policy: TrainablePolicy,
        needs: frozenset[type],
        tokens_per_microbatch: int,
        environment: Environment | None = None,
        teachers: tuple[tuple[str, TrainablePolicy], ...] = (),
    ) -> None:
        require_supplied(needs)
        if Teachers in needs and not teachers:
            raise UnmetNeed("a part needs Teachers, and this critic holds none: set critic=preference_models")
        self.teachers = teachers
        self.snapshots = Snapshots(restorable(environment)) if Snapshots in needs else None
        self.policy = policy
        self.needs = needs
        self.tokens = tokens_per_microbatch
        self.kept = KeptStates()
        self.reference = policy.frozen_copy() if ReferenceLogprobs in needs else None

    @torch.no_grad()
    def observe(self, groups: tuple[Group, ...], batch: TokenBatch, continues: Continues | None = None) -> Evidence:
        """The evidence of this step. `continues` goes on from its answers for whoever needs that."""
        items: list[EvidenceItem] = []
        if Continuations in self.needs:
            if continues is None:
                raise UnmetNeed("a part needs Continuations, and nobody here can ask the reward source about them")
            items.append(Continuations(continues))
        if self.snapshots is not None:
            items.append(self.snapshots)
        if Groups in self.needs:
            items.append(Groups(groups))
        if HiddenStates in self.needs or ProximalLogprobs in self.needs:
            items += self._read_policy(batch)
        if self.reference is not None:
            items.append(ReferenceLogprobs("initial", self._logprobs(self.reference, batch)))
        if Teachers in self.needs:
            others = (("reference", self.reference),) if self.reference is not None else ()
            items.append(Teachers(tuple(self._view(name, model, batch) for name, model in (*self.teachers, *others))))
        return Evidence(*items)

    def _read_policy(self, batch: TokenBatch) -> list[EvidenceItem]:
        states = batch.behavior_logprobs.new_zeros(int(batch.sampled_mask.sum()), self.policy.width)
        ends = batch.behavior_logprobs.new_zeros(batch.rows, self.policy.width)
        row_of = batch.sampled_mask.nonzero()[:, 0]
        logprobs = torch.zeros_like(batch.behavior_logprobs)
        pieces = microbatches(batch, torch.arange(batch.rows), self.tokens)
        keep = len(pieces) == 1 and bool(self.kept.tokens)
        for rows in pieces:
            piece = batch if keep else batch.select(rows)
            with torch.set_grad_enabled(keep):
                before, after = self.policy.sampled_and_final_states(piece)
            if keep:
                self.kept.keep(batch, before)
                before, after = before.detach(), after.detach()
            states[torch.isin(row_of, rows)] = before.to(states.dtype)
            ends[rows] = after.to(ends.dtype)
            if ProximalLogprobs in self.needs:
                logprobs[rows, : piece.token_ids.shape[1]] = score(self.policy, piece, before)
        items: list[EvidenceItem] = []
        if HiddenStates in self.needs:
            items.append(HiddenStates(states, ends))
        if ProximalLogprobs in self.needs:
            items.append(ProximalLogprobs(logprobs))
        return items

    def _view(self, name: str, model: TrainablePolicy, batch: TokenBatch) -> View:
        states = batch.behavior_logprobs.new_zeros(*batch.token_ids.shape, model.width)
        for rows in microbatches(batch, torch.arange(batch.rows), self.tokens):
            piece = batch.select(rows)
            read = scatter_sampled(model.sampled_states(piece), piece.sampled_mask)
            states[rows, : piece.token_ids.shape[1]] = read.to(states.dtype)
        return View(name, states, model.logits)

    def _logprobs(self, policy: TrainablePolicy, batch: TokenBatch) -> torch.Tensor:
        logprobs = torch.zeros_like(batch.behavior_logprobs)
        for rows in microbatches(batch, torch.arange(batch.rows), self.tokens):
            piece = batch.select(rows)
            logprobs[rows, : piece.token_ids.shape[1]] = score(policy, piece, policy.sampled_states(piece))
        return logprobs

    def save(self, folder: Path) -> None:
        """The reference beside the checkpoint: a resumed run measures distance from the same place."""
        if self.reference is not None:
            self.reference.save(folder)

    def restore(self, folder: Path) -> None:
        """Read back what `save` wrote."""
        if self.reference is not None:
            self.reference.restore(folder)


def score(policy: TrainablePolicy, batch: TokenBatch, states: torch.Tensor) -> torch.Tensor:
    """Log-probs of the sampled tokens on the grid [N T], zero elsewhere."""
    mask = batch.sampled_mask
    flat = token_logprobs(policy.logits(states), batch.token_ids[mask], batch.temperature[mask])
    return scatter_sampled(flat, mask).to(batch.behavior_logprobs.dtype)
