"""What one step teaches: everything the learner is given, the cutting of it, and what its losses are divided by."""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from critica.functional.divergences import k3
from critica.functional.reduce import denominator, reduce
from critica.objectives.base import Objective, TokenScores
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
)
from critica.records.checks import NonFiniteNumbers
from critica.records.evidence import Evidence, ProximalLogprobs, ReferenceLogprobs, SaidError, Views
from critica.records.losses import LossTerm, TokenMean


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
            if isinstance(item, Views):
                items.append(item.select(rows, width))
            if isinstance(item, SaidError):
                items.append(item)
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


class Denominators:
    """What a loss is divided by, counted over every row of one optimizer step, however it is cut."""

    def __init__(self, lesson: Lesson, rows: Tensor, objective: Objective) -> None:
        masks = objective.masks(lesson.credit, lesson.told)
        self._policy_masks = {name: mask[rows] for name, mask in masks.items()}
        self._critic_mask = lesson.targets.mask[rows] if lesson.targets is not None else None
        self._losses: dict[str, float] = {}

    def policy(self, term: LossTerm) -> float:
        """For a term of the objective that sees its rows piece by piece: by the mask that it declared for the step."""
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
