"""The learner: owns every optimizer, cuts the batch to fit memory, and reduces losses over the whole step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from critica.critics.base import Remembering, Reporting, Trainable, ValueCritic
from critica.curricula.base import Stage
from critica.functional.divergences import k3
from critica.functional.logprobs import logprobs_and_entropies
from critica.functional.random import torch_generator
from critica.functional.reduce import denominator, reduce
from critica.objectives.base import Objective, TokenScores
from critica.policies.base import TrainablePolicy
from critica.policies.batching import microbatches
from critica.policies.kept import KeptStates
from critica.records.arrays import (
    Advantages,
    Metric,
    Pairs,
    Point,
    RewardBatch,
    Samples,
    TokenBatch,
    ValuePrediction,
    ValueTargets,
    merge_metrics,
    scatter_sampled,
)
from critica.records.checks import NonFiniteNumbers
from critica.records.evidence import Evidence, ProximalLogprobs, ReferenceLogprobs, Teachers
from critica.records.losses import LossTerm, TokenMean
from critica.training.batching import update_rows
from critica.training.optimizer import Optimizer
from critica.training.plasticity import EVERY, plasticity
from critica.training.replay_ratio import FixedPasses, ReplayRatio


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often each model is updated on one batch, and how much of it fits at once."""

    policy_epochs: int
    updates_per_epoch: int
    critic_epochs: int
    tokens_per_microbatch: int


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the learner is given about one step."""

    batch: TokenBatch
    told: RewardBatch
    credit: Advantages
    targets: ValueTargets | None
    values: ValuePrediction
    evidence: Evidence

    def select(self, rows: Tensor) -> "Lesson":
        """These rows, trimmed to the longest of them."""
        batch = self.batch.select(rows)
        width = batch.token_ids.shape[1]
        credit = replace(
            self.credit,
            advantage=self.credit.advantage[rows, :width],
            mask=self.credit.mask[rows, :width],
            zero_variance=self.credit.zero_variance[rows],
            nodes=None if self.credit.nodes is None else self.credit.nodes[rows, :width],
        )
        values = replace(
            self.values, mean=self.values.mean[rows, :width], mask=self.values.mask[rows, :width],
            bootstrap=self.values.bootstrap[rows], law=Point(), bootstrap_law=Point(), support=None,
            nodes=None if self.values.nodes is None else self.values.nodes[rows, :width], scores=None,
        )  # fmt: skip
        items = []
        for item in self.evidence:
            if isinstance(item, ProximalLogprobs | ReferenceLogprobs):
                items.append(replace(item, logprobs=item.logprobs[rows, :width]))
            if isinstance(item, Teachers):
                items.append(item.select(rows, width))
        told, targets = select_told(self.told, rows, width), select_targets(self.targets, rows, width)
        return Lesson(batch, told, credit, targets, values, Evidence(*items))


def select_told(told: RewardBatch, rows: Tensor, width: int) -> RewardBatch:
    """These rows of what was told."""
    return replace(
        told, outcome=told.outcome[rows], known=told.known[rows], confidence=told.confidence[rows],
        per_token=told.per_token[rows, :width],
    )  # fmt: skip


def select_targets(targets: ValueTargets | None, rows: Tensor, width: int) -> ValueTargets | None:
    """These rows of the targets."""
    if targets is None:
        return None
    if isinstance(targets, Samples):
        return Samples(targets.values[rows, :width], targets.weights[rows, :width], targets.mask[rows, :width])
    if isinstance(targets, Pairs):
        return Pairs(targets.opponents[rows], targets.better[rows], targets.weights[rows], targets.mask[rows, :width])
    return replace(targets, values=targets.values[rows, :width], mask=targets.mask[rows, :width])


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
        for part in self._pieces(lesson, rows):
            states = self._policy_states(part.batch, with_gradient=learns)
            losses: list[Tensor] = []
            if learns:
                scores = self._scores(part, states)
                terms, metrics = self.objective.terms(scores, part.batch, part.credit, part.evidence, part.told)
                reports += [*metrics, *score_metrics(scores, part)]
                losses += [counts.reduce(term, counts.policy(term)) for term in terms]
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

    def _critic_step(self, lesson: Lesson, rows: Tensor, critic: Trainable) -> list[Metric]:
        """One optimizer step of a critic with a body of its own."""
        counts = Denominators(lesson, rows, self.objective)
        for part in self._pieces(lesson, rows):
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

    def _pieces(self, lesson: Lesson, rows: Tensor) -> Iterator[Lesson]:
        """These rows in pieces that fit; when that is all of them at once, the lesson itself."""
        pieces = microbatches(lesson.batch, rows, self.schedule.tokens_per_microbatch)
        if len(pieces) == 1 and len(rows) == lesson.batch.rows:
            yield lesson
            return
        for piece in pieces:
            yield lesson.select(piece)

    def _policy_states(self, batch: TokenBatch, with_gradient: bool) -> Tensor:
        """The policy's states before each sampled token: those that `observe` kept, or a new forward pass."""
        kept = self.kept.take(batch)
        if kept is not None:
            return kept if with_gradient else kept.detach()
        with torch.set_grad_enabled(with_gradient):
            return self.policy.sampled_states(batch)

    def _scores(self, part: Lesson, states: Tensor) -> TokenScores:
        mask = part.batch.sampled_mask
        logits = self.policy.logits(states)
        flat, entropy = logprobs_and_entropies(logits, part.batch.token_ids[mask], part.batch.temperature[mask])
        logprobs = scatter_sampled(flat, mask)
        entropies = scatter_sampled(entropy if self.objective.needs_entropy_gradient else entropy.detach(), mask)
        proximal = logprobs.detach()
        if ProximalLogprobs in part.evidence:
            proximal = part.evidence[ProximalLogprobs].logprobs
        return TokenScores(logprobs, proximal, entropies, logits if self.objective.needs_logits else logits[:0])


class Denominators:
    """What a loss is divided by, counted over every row of one optimizer step, however it is cut."""

    def __init__(self, lesson: Lesson, rows: Tensor, objective: Objective) -> None:
        masks = objective.masks(lesson.credit, lesson.told)
        self._policy_masks = {name: mask[rows] for name, mask in masks.items()}
        self._critic_mask = lesson.targets.mask[rows] if lesson.targets is not None else None
        self._losses: dict[str, float] = {}

    def policy(self, term: LossTerm) -> float:
        """For a term of the objective, by its own mask and reduction."""
        return denominator(self._policy_masks[term.name], term.reduction)

    def critic(self) -> float:
        """For a term of the critic: the step's target tokens."""
        assert self._critic_mask is not None
        return denominator(self._critic_mask, TokenMean())

    def reduce(self, term: LossTerm, count: float) -> Tensor:
        """The weighted loss of this piece; its share before the weight is kept for the report.

        Raises `NonFiniteNumbers` with the loss of each token.
        """
        loss = reduce(term, max(count, 1.0))
        if not math.isfinite(loss.item()):
            raise NonFiniteNumbers(f"the loss {term.name!r}", term.values.detach().masked_fill(~term.mask, 0.0))
        share = float(loss.detach()) / term.weight if term.weight else 0.0
        self._losses[term.name] = self._losses.get(term.name, 0.0) + share
        return loss

    def report(self) -> list[Metric]:
        """One reading of each loss for this optimizer step."""
        return [Metric(f"loss/{name}", total, 1.0) for name, total in self._losses.items()]


def score_metrics(scores: TokenScores, part: Lesson) -> list[Metric]:
    """Entropy, and how far trainer and sampler, or policy and reference, are apart on these tokens."""
    mask, batch = part.batch.sampled_mask, part.batch
    count = float(mask.sum())
    gap = (scores.proximal_logprobs - batch.behavior_logprobs)[mask].abs()
    policy = scores.policy_logprobs.detach()
    metrics = [
        Metric("policy/entropy", float(scores.entropies.detach()[mask].sum()), count),
        Metric("mismatch/mean_abs_logratio", float(gap.sum()), count),
        Metric("policy/kl_behavior", float(k3(batch.behavior_logprobs, policy)[mask].sum()), count),
    ]
    if ReferenceLogprobs in part.evidence:
        apart = k3(policy, part.evidence[ReferenceLogprobs].logprobs)[mask]
        metrics.append(Metric("policy/kl_reference", float(apart.sum()), count))
    return metrics
