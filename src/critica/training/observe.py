"""Compute what the parts declared that they need, nothing else."""

from pathlib import Path

import torch

from critica.environments.base import Environment
from critica.functional.kept_laws import KeptLaws
from critica.policies.base import TrainablePolicy
from critica.policies.batching import microbatches
from critica.policies.kept import KeptStates
from critica.policies.scoring import logprobs_of
from critica.records.arrays import TokenBatch, scatter_sampled
from critica.records.evidence import (
    Continuations,
    Evidence,
    EvidenceItem,
    Groups,
    HiddenStates,
    ProximalLogprobs,
    ReferenceLogprobs,
    SaidError,
    Snapshots,
    View,
    Views,
)
from critica.records.protocols import Continues, Restorable
from critica.records.views import AnotherLayer, FrozenReference, ViewSpec
from critica.records.words import Group
from critica.rewards.correction_base import LiveCorrection, Reckons
from critica.training.rereading import reread

SUPPLIED = frozenset({
    HiddenStates, ReferenceLogprobs, ProximalLogprobs, Groups, Continuations, Snapshots, Views, SaidError
})  # fmt: skip


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
        views: tuple[ViewSpec, ...] = (),
    ) -> None:
        require_supplied(needs)
        if Views in needs and not teachers and not views:
            raise UnmetNeed("a part needs Views, and this critic holds none: set critic=preference_models")
        refuse_twins(views)
        self.teachers, self.views = teachers, views
        self.snapshots = Snapshots(restorable(environment)) if Snapshots in needs else None
        self.policy = policy
        self.needs = needs
        self.tokens = tokens_per_microbatch
        self.kept = KeptStates()
        looked_at = any(isinstance(spec, FrozenReference) for spec in views)
        self.reference = policy.frozen_copy() if ReferenceLogprobs in needs or looked_at else None
        self.reckoning: Reckons | None = None

    def listen(self, correction: LiveCorrection) -> None:
        """Hear from the correction how often verdicts are wrong, if a part needs that. Raises `UnmetNeed`."""
        if SaidError not in self.needs:
            return
        if not isinstance(correction, Reckons):
            raise UnmetNeed(
                "a part needs SaidError, how often verdicts are wrong, and this correction does not know that of one"
                " objective: set --correction watch:0.05 (checks a share, changes nothing) or backward:audit:0.05; or"
                " state the noise: --set 'objective.penalties=[{use=\"noise_entropy\", noise=0.02}]'"
            )
        self.reckoning = correction

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
        if self.reckoning is not None:
            items.append(SaidError(self.reckoning.said_error()))
        if Groups in self.needs:
            items.append(Groups(groups))
        if HiddenStates in self.needs or ProximalLogprobs in self.needs:
            items += self._read_policy(batch)
        if self.reference is not None and ReferenceLogprobs in self.needs:
            items.append(ReferenceLogprobs("initial", self._logprobs(self.reference, batch)))
        if Views in self.needs or self.views:
            others = (("reference", self.reference),) if self.reference is not None and self.teachers else ()
            held = [self._view(name, model, batch) for name, model in (*self.teachers, *others)]
            items.append(Views((*held, *(self._declared(spec, groups, batch) for spec in self.views))))
        return Evidence(*items)

    def _declared(self, spec: ViewSpec, groups: tuple[Group, ...], batch: TokenBatch) -> View:
        """The policy's own other reading of these tokens."""
        if isinstance(spec, FrozenReference):
            assert self.reference is not None
            return self._view(spec.name, self.reference, batch)
        if isinstance(spec, AnotherLayer):
            return self._view(spec.name, self.policy, batch, spec.depth)
        read = reread(groups, batch, spec, self.policy)
        if read is None:
            nothing = batch.behavior_logprobs.new_zeros(0, self.policy.width)
            return View(spec.name, nothing, batch.sampled_mask & False, self.policy.logits)
        return View(spec.name, self._states(self.policy, read.batch)[read.order], read.covers, self.policy.logits)

    def _read_policy(self, batch: TokenBatch) -> list[EvidenceItem]:
        states = batch.behavior_logprobs.new_zeros(int(batch.sampled_mask.sum()), self.policy.width)
        ends = batch.behavior_logprobs.new_zeros(batch.rows, self.policy.width)
        row_of = batch.sampled_mask.nonzero()[:, 0]
        logprobs = torch.zeros_like(batch.behavior_logprobs)
        pieces = microbatches(batch, torch.arange(batch.rows, device=batch.device), self.tokens)
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

    def _view(self, name: str, model: TrainablePolicy, batch: TokenBatch, depth: float = 1.0) -> View:
        """This model's reading of every sampled token."""
        return View(name, self._states(model, batch, depth), batch.sampled_mask, model.logits)

    def _states(self, model: TrainablePolicy, read: TokenBatch, depth: float = 1.0) -> torch.Tensor:
        """The states before the sampled tokens of `read`, row-major, `depth` of the way up."""
        found = read.behavior_logprobs.new_zeros(int(read.sampled_mask.sum()), model.width)
        row_of = read.sampled_mask.nonzero()[:, 0]
        for rows in microbatches(read, torch.arange(read.rows, device=read.device), self.tokens):
            piece = read.select(rows)
            states = model.sampled_states(piece) if depth == 1.0 else model.layer_states(piece, depth)
            found[torch.isin(row_of, rows)] = states.to(found.dtype)
        return found

    def _logprobs(self, policy: TrainablePolicy, batch: TokenBatch) -> torch.Tensor:
        logprobs = torch.zeros_like(batch.behavior_logprobs)
        for rows in microbatches(batch, torch.arange(batch.rows, device=batch.device), self.tokens):
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
    """Log-probs of the sampled tokens on the grid [N T], zero elsewhere; over the tokens that sampling kept."""
    mask = batch.sampled_mask
    kept = KeptLaws.of(batch, states.device)
    flat = logprobs_of(policy, states, batch.token_ids[mask], batch.temperature[mask], kept)
    return scatter_sampled(flat, mask).to(batch.behavior_logprobs.dtype)


def refuse_twins(views: tuple[ViewSpec, ...]) -> None:
    """Raise ValueError if two different views go by one name."""
    for one in views:
        if any(other.name == one.name and other != one for other in views):
            raise ValueError(f"two parts declare different views by the name {one.name!r}: rename one of them")
