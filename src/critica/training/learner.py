"""The learner: owns every optimizer, cuts the batch to fit memory, and reduces losses over the whole step."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from critica.critics.base import Remembering, Reporting, Trainable, ValueCritic
from critica.curricula.base import Stage
from critica.functional.kept_laws import KeptLaws
from critica.functional.random import torch_generator
from critica.functional.reduce import denominator
from critica.objectives.base import InnerStates, Laws, Objective, TokenScores
from critica.policies.base import TrainablePolicy
from critica.policies.batching import microbatches
from critica.policies.kept import KeptStates
from critica.policies.scoring import scores_of
from critica.records.arrays import Metric, RewardBatch, TokenBatch, merge_metrics, scatter_sampled
from critica.records.checks import NonFiniteNumbers
from critica.records.evidence import ProximalLogprobs
from critica.training.batching import update_rows
from critica.training.lesson import Denominators, Lesson, score_metrics
from critica.training.optimizer import Optimizer
from critica.training.plasticity import EVERY, plasticity
from critica.training.replay_ratio import FixedPasses, ReplayRatio

Inner = Mapping[float, InnerStates]
NOTHING_INNER: Inner = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often each model is updated on one batch, and how much of it fits at once."""

    policy_epochs: int
    updates_per_epoch: int
    critic_epochs: int
    tokens_per_microbatch: int


class CriticLearner(Protocol):
    """Teaches a critic that does not learn from targets."""

    def update(self, batch: TokenBatch, told: RewardBatch, step: int) -> list[Metric]: ...


class Learner:
    """Updates the policy by its objective and the critic by its own losses; with a shared trunk, in one pass."""

    def __init__(
        self,
        policy: TrainablePolicy,
        critic: ValueCritic,
        objective: Objective,
        optimizers: tuple[Optimizer, Optimizer | None],
        schedule: Schedule,
        seed: int,
        kept: KeptStates | None = None,
        replay: ReplayRatio | None = None,
        author: CriticLearner | None = None,
    ) -> None:
        if objective.couples_rows and objective.depths:
            raise ValueError("an objective that couples rows reads log-probs alone: take its layer penalties out")
        self.kept, self.author = kept or KeptStates(), author
        self.replay = replay or FixedPasses(schedule.critic_epochs)
        self.policy, self.critic, self.objective = policy, critic, objective
        self.policy_optimizer, self.critic_optimizer = optimizers
        self.schedule, self.seed = schedule, seed
        self.applied = False

    def update(self, lesson: Lesson, stage: Stage, step: int) -> tuple[Metric, ...]:
        """Every optimizer step that this batch pays for; returns what to report.

        Raises `NonFiniteNumbers` at the first loss or gradient that is not finite: no weight has taken it in, and the
        rest of the step is left undone. `applied` then says whether earlier optimizer steps moved a weight.
        """
        self.applied = False
        try:
            return self._update(lesson, stage, step)
        except NonFiniteNumbers:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Forget the gradients and the kept states of a step that is left undone."""
        for optimizer in (self.policy_optimizer, self.critic_optimizer):
            if optimizer is not None:
                optimizer.forget_gradients()
        self.kept.forget()

    def _update(self, lesson: Lesson, stage: Stage, step: int) -> tuple[Metric, ...]:
        reports: list[Metric] = []
        learns = stage.critic and lesson.targets is not None
        critic = self.critic if isinstance(self.critic, Trainable) and learns else None
        joint = critic is not None and not critic.has_body
        if stage.policy or joint:
            for rows in self._parts(lesson, self.schedule.policy_epochs, step, "policy"):
                reports += self._policy_step(lesson, rows, critic if joint else None, stage.policy)
                if stage.policy:
                    self.policy.version = step
        if critic is not None and not joint:
            for rows in self._parts(lesson, self.replay.passes(), step, "critic"):
                reports += self._critic_step(lesson, rows, critic)
        if stage.critic and self.author is not None:
            reports += self.author.update(lesson.batch, lesson.told, step)
            self.applied = True
        if isinstance(self.critic, Reporting):
            reports += self.critic.report()
        if stage.critic and isinstance(self.critic, Remembering):
            self.critic.remember(lesson.batch, lesson.told)
        if critic is not None:
            reports += self._readings(critic, lesson, step)
        return merge_metrics(reports)

    def _readings(self, critic: Trainable, lesson: Lesson, step: int) -> list[Metric]:
        """Whether the critic can still learn, now and then, and what the replay ratio makes of it."""
        read = step % EVERY == 0 or self.replay.due(step)
        readings = plasticity(critic, lesson.batch, lesson.evidence) if read else ()
        return [*readings, *self.replay.hear(step, lesson.told, lesson.values, readings)]

    def _parts(self, lesson: Lesson, epochs: int, step: int, who: str) -> list[Tensor]:
        parts = []
        for epoch in range(epochs):
            generator = torch_generator(self.seed, "learner/order", who, step, epoch)
            parts += update_rows(lesson.batch, self.schedule.updates_per_epoch, generator)
        return parts

    def _policy_step(self, lesson: Lesson, rows: Tensor, critic: Trainable | None, learns: bool) -> list[Metric]:
        """One optimizer step of the policy, and of a critic that reads its trunk."""
        counts = Denominators(lesson, rows, self.objective)
        reports: list[Metric] = []
        pieces = self._cut(lesson, rows)
        apart = learns and self.objective.couples_rows and len(pieces) > 1
        pull = self._pull(lesson, rows, counts, reports) if apart else None
        for which, part in pieces:
            states, inner = self._policy_states(part.batch, with_gradient=learns)
            losses: list[Tensor] = []
            if learns:
                scores = self._scores(part, states, inner)
                reports += score_metrics(scores, part)
                if pull is not None:
                    losses.append((pull[which, : part.batch.token_ids.shape[1]] * scores.policy_logprobs).sum())
                else:
                    losses += self._losses(scores, part, counts, reports)
            if critic is not None and part.targets is not None:
                read = states if critic.shapes_trunk and learns else states.detach()
                terms = critic.loss(read, part.batch, part.targets, part.values)
                losses += [critic.trunk_weight * counts.reduce(term, counts.critic()) for term in terms]
            if losses:
                torch.stack(losses).sum().backward()
        owners = [("policy", self.policy_optimizer)] if learns else []
        if critic is not None and self.critic_optimizer is not None:
            owners.append(("critic", self.critic_optimizer))
        return self._applied(owners) + reports + counts.report()

    def _losses(self, scores: TokenScores, part: Lesson, counts: Denominators, reports: list[Metric]) -> list[Tensor]:
        """The objective's terms on these rows, reduced; what it reports is added to `reports`."""
        terms, metrics = self.objective.terms(scores, part.batch, part.credit, part.evidence, part.told)
        reports += metrics
        whole = self.objective.couples_rows
        return [
            counts.reduce(term, denominator(term.mask, term.reduction) if whole else counts.policy(term))
            for term in terms
        ]

    def _pull(self, lesson: Lesson, rows: Tensor, counts: Denominators, reports: list[Metric]) -> Tensor:
        """d loss / d log-prob of each token of these rows [R T], for an objective that must see them all at once.

        The log-probs are read piece by piece without gradient; the pieces then pass this number on to the weights.
        """
        whole = lesson.select(rows)
        logprobs = torch.zeros_like(whole.batch.behavior_logprobs)
        proximal, entropies = logprobs.clone(), logprobs.clone()
        for which, part in self._cut(lesson, rows):
            with torch.no_grad():
                scores = self._scores(part, self._policy_states(part.batch, with_gradient=False)[0])
            width = part.batch.token_ids.shape[1]
            logprobs[which, :width] = scores.policy_logprobs.to(logprobs.dtype)
            proximal[which, :width] = scores.proximal_logprobs.to(logprobs.dtype)
            entropies[which, :width] = scores.entropies.to(logprobs.dtype)
        leaf = logprobs.requires_grad_()
        losses = self._losses(TokenScores(leaf, proximal, entropies), whole, counts, reports)
        return torch.autograd.grad(torch.stack(losses).sum(), leaf)[0]

    def _critic_step(self, lesson: Lesson, rows: Tensor, critic: Trainable) -> list[Metric]:
        """One optimizer step of a critic with a body of its own."""
        counts = Denominators(lesson, rows, self.objective)
        for _, part in self._cut(lesson, rows):
            assert part.targets is not None
            terms = critic.loss(critic.states(part.batch), part.batch, part.targets, part.values)
            torch.stack([counts.reduce(term, counts.critic()) for term in terms]).sum().backward()
        assert self.critic_optimizer is not None
        return self._applied([("critic", self.critic_optimizer)]) + counts.report()

    def _applied(self, owners: list[tuple[str, Optimizer]]) -> list[Metric]:
        """Clip every gradient, then apply them all: if one is not finite, no weight moves."""
        norms = [optimizer.clip() for _, optimizer in owners]
        self.applied = True
        reports = []
        for (who, optimizer), norm in zip(owners, norms, strict=True):
            optimizer.apply()
            reports += [Metric(f"{who}/grad_norm", norm, 1.0), Metric(f"learning_rate/{who}", optimizer.rate, 1.0)]
        return reports

    def _cut(self, lesson: Lesson, rows: Tensor) -> list[tuple[Tensor, Lesson]]:
        """These rows in pieces that fit, each with its places among them; the lesson itself if that is all of it."""
        pieces = microbatches(lesson.batch, rows, self.schedule.tokens_per_microbatch)
        if len(pieces) == 1 and len(rows) == lesson.batch.rows:
            return [(torch.arange(len(rows), device=rows.device), lesson)]
        place = rows.new_empty(lesson.batch.rows)
        place[rows] = torch.arange(len(rows), device=rows.device)
        return [(place[piece], lesson.select(piece)) for piece in pieces]

    def _policy_states(self, batch: TokenBatch, with_gradient: bool) -> tuple[Tensor, Inner]:
        """The policy's states before each sampled token: those that `observe` kept, or a new forward pass.

        An objective that reads inner layers gets those too; they are never kept.
        """
        kept, depths = self.kept.take(batch), self.objective.depths
        if depths and with_gradient:
            states, inner = self.policy.sampled_and_inner_states(batch, depths)
            final = states.detach()
            found = {d: InnerStates(at, final, self.policy.logits) for d, at in zip(depths, inner, strict=True)}
            return states, found
        if kept is not None:
            return kept if with_gradient else kept.detach(), {}
        with torch.set_grad_enabled(with_gradient):
            return self.policy.sampled_states(batch), {}

    def _scores(self, part: Lesson, states: Tensor, inner: Inner = NOTHING_INNER) -> TokenScores:
        mask = part.batch.sampled_mask
        tokens, heat = part.batch.token_ids[mask], part.batch.temperature[mask]
        kept = KeptLaws.of(part.batch, states.device)
        flat, entropy = scores_of(self.policy, states, tokens, heat, into_grad=True, kept=kept)
        logprobs = scatter_sampled(flat, mask)
        entropies = scatter_sampled(entropy if self.objective.needs_entropy_gradient else entropy.detach(), mask)
        proximal = logprobs.detach()
        if ProximalLogprobs in part.evidence:
            proximal = part.evidence[ProximalLogprobs].logprobs
        return TokenScores(logprobs, proximal, entropies, inner, Laws(states, self.policy.logits))
