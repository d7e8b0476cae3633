"""A critic that reads the reference answer before the prompt; the policy never does."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.combine import Around, Learning, reads_policy, refuse_clip, require_trainable
from critica.critics.scalar import ScalarCritic
from critica.policies.base import Policy
from critica.records.arrays import (
    Categorical,
    Gaussian,
    Law,
    Quantiles,
    RewardBatch,
    TokenBatch,
    ValuePrediction,
    scatter_sampled,
)
from critica.records.evidence import Evidence, Groups
from critica.records.words import Group, Task


@runtime_checkable
class HasContextLength(Protocol):
    """A policy that says how many tokens its model attends over."""

    @property
    def context_length(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Privileged(Around):
    """V(s, answer): the critic's context is the task's prompt with its reference answer told in front of it.

    Policy gradients stay unbiased: a baseline may know anything but the action (asymmetric actor-critic, Pinto et al.
    2017, arXiv 1710.06542; BPCO, arXiv 2608.23566, conditions on answers and rubrics). `template` is put before the
    first message; its `{answer}` becomes the task's. The prompt is encoded anew by the policy's tokenizer, the tokens
    after it are the recorded ones.

    Use it where the answer is known and long outputs leave the critic guessing. Not where tasks have none (such a task
    is an error), and mind that such a critic cannot judge where no answer is known. It needs a body of its own (the
    policy's states have not read the answer) and reads a prompt longer by the answer; the policy's context must hold
    both. Costs what the critic inside costs, on longer prompts. With a template without `{answer}` and an empty text it
    is the critic inside.
    """

    critic: CriticPart = field(default_factory=ScalarCritic)
    template: str = "The reference answer is {answer}.\n"

    def __post_init__(self) -> None:
        if reads_policy(self.critic):
            raise ValueError(
                "a privileged critic reads another text than the policy, so it cannot share the policy's trunk;"
                " set critic.critic.body=own or critic.critic.body=small"
            )
        if self.critic.group_based:
            raise ValueError("a privileged critic must learn, and this one counts; set critic.critic=scalar")
        try:
            self.template.format(answer="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"template {self.template!r} may have {{answer}} in it, and no other braces ({error})"
            ) from error
        refuse_clip(self.critic, "a privileged critic")

    def build(self, context: CriticContext) -> ValueCritic:
        inner = self.critic.build(context)
        if not require_trainable(inner, "a privileged critic").has_body:
            raise ValueError(
                "a privileged critic reads another text than the policy, so it cannot share the policy's trunk;"
                " set critic.critic.body=own or critic.critic.body=small"
            )
        return LivePrivileged(inner, context.policy, self.template)


class LivePrivileged(Learning):
    """The critic inside, and the context that each trajectory of this step has for it."""

    def __init__(self, inner: ValueCritic, policy: Policy, template: str) -> None:
        super().__init__((("inner", inner),))
        self.needs = self.needs | {Groups}
        self.inner, self.policy, self.template = inner, policy, template
        self._contexts: Mapping[str, tuple[int, ...]] = {}
        self._told: tuple[TokenBatch, TokenBatch] | None = None

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        self._contexts = self._told_contexts(evidence[Groups].groups)
        longer = with_contexts(batch, self._contexts)
        self._refuse_too_long(longer)
        self._told = (batch, longer)
        # A critic that learns does not look at what was told, which lies on the policy's grid.
        return on_grid(self.inner.predict(longer, told, evidence), longer.sampled_mask, batch.sampled_mask)

    def states(self, batch: TokenBatch) -> Tensor:
        """The body's states after the longer context, in the order of this batch's sampled tokens."""
        if self._told is not None and self._told[0] is batch:
            longer = self._told[1]
        else:
            longer = with_contexts(batch, self._contexts)
        return super().states(longer)

    def _refuse_too_long(self, longer: TokenBatch) -> None:
        if isinstance(self.policy, HasContextLength) and int(longer.lengths.max()) > self.policy.context_length:
            row = int(longer.lengths.argmax())
            raise ValueError(
                f"with the reference answer, trajectory {longer.trajectory_ids[row]!r} is {int(longer.lengths[row])}"
                f" tokens long, and the policy's context holds {self.policy.context_length}: shorten critic.template,"
                " lower sampling.max_new_tokens, or use tasks with shorter answers"
            )

    def _told_contexts(self, groups: tuple[Group, ...]) -> dict[str, tuple[int, ...]]:
        """Each trajectory's context with the answer in it. Raises ValueError if its first is not the task's prompt."""
        found: dict[str, tuple[int, ...]] = {}
        for group in groups:
            context, prompt = self.context(group.task), tuple(self.policy.encode(group.task.messages))
            for trajectory in group.trajectories:
                if tuple(trajectory.turns[0].token_ids) != prompt:
                    raise ValueError(
                        f"trajectory {trajectory.trajectory_id!r} does not begin with the prompt of its task, so there"
                        " is no telling where the reference answer belongs: a privileged critic is for single prompts"
                    )
                found[trajectory.trajectory_id] = context
        return found

    def context(self, task: Task) -> tuple[int, ...]:
        """The tokens that the critic reads in place of the prompt's. Raises ValueError if the task has no answer."""
        if "{answer}" in self.template and not task.answer.strip():
            raise ValueError(
                f"task {task.task_id!r} has no reference answer, so a privileged critic has nothing to read; use"
                " critic=scalar, or an environment whose tasks carry an answer"
            )
        first = task.messages[0]
        told = replace(first, content=self.template.replace("{answer}", task.answer) + first.content)
        return tuple(self.policy.encode((told, *task.messages[1:])))


def with_contexts(batch: TokenBatch, contexts: Mapping[str, tuple[int, ...]]) -> TokenBatch:
    """The batch with each row's first context turn replaced. Raises KeyError for a row without a context."""
    pieces = [torch.tensor(contexts[name], dtype=torch.long, device=batch.device) for name in batch.trajectory_ids]
    openings = torch.tensor([len(piece) for piece in pieces], device=batch.device)
    lengths = batch.lengths - batch.prefix_length + openings
    rows, width = batch.rows, int(lengths.max())
    token_ids = batch.token_ids.new_zeros(rows, width)
    turn_index, node_index = batch.turn_index.new_full((rows, width), -1), batch.node_index.new_full((rows, width), -1)
    sampled = batch.sampled_mask.new_zeros(rows, width)
    temperature, logprobs = batch.temperature.new_ones(rows, width), batch.behavior_logprobs.new_zeros(rows, width)
    for row, piece in enumerate(pieces):
        start, end = int(batch.prefix_length[row]), int(batch.lengths[row])
        own, here = slice(start, end), slice(len(piece), len(piece) + end - start)
        token_ids[row, : len(piece)] = piece
        turn_index[row, : len(piece)] = 0
        for longer, shorter in (
            (token_ids, batch.token_ids), (turn_index, batch.turn_index), (node_index, batch.node_index),
            (sampled, batch.sampled_mask), (temperature, batch.temperature), (logprobs, batch.behavior_logprobs),
        ):  # fmt: skip
            longer[row, here] = shorter[row, own]
    return replace(
        batch, token_ids=token_ids, valid_mask=turn_index >= 0, sampled_mask=sampled, turn_index=turn_index,
        node_index=node_index, temperature=temperature, behavior_logprobs=logprobs,
        prefix_length=openings,
    )  # fmt: skip


def on_grid(values: ValuePrediction, source: Bool[Tensor, "N L"], target: Bool[Tensor, "N T"]) -> ValuePrediction:
    """A prediction moved from one grid to another with the same sampled tokens in the same order."""

    def moved(grid: Tensor) -> Tensor:
        return scatter_sampled(grid[source], target)

    match values.law:
        case Quantiles(levels=levels, values=curves):
            law: Law = Quantiles(levels, moved(curves))
        case Categorical(atoms=atoms, probs=probs):
            law = Categorical(atoms, moved(probs))
        case Gaussian(spread=spread):
            law = Gaussian(moved(spread))
        case _:
            law = values.law
    return replace(
        values,
        mean=moved(values.mean),
        mask=scatter_sampled(values.mask[source].to(values.mean.dtype), target).bool(),
        law=law,
        support=None if values.support is None else moved(values.support),
        nodes=None,
    )
