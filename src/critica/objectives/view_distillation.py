"""The policy is drawn, token by token, to what it says itself when it is told more."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.distillation import divergence
from critica.functional.logprobs import heated
from critica.functional.view_logprobs import view_logprobs
from critica.objectives.base import Laws, TokenPenalty, TokenScores
from critica.records.arrays import Advantages, Metric, TokenBatch, scatter_sampled
from critica.records.evidence import Evidence, View, Views
from critica.records.views import AnotherContext, ContextView, ViewSpec

GOLD = "The right answer is {answer}"


@dataclass(frozen=True, slots=True)
class ViewDistillation(TokenPenalty):
    """weight * D(policy's law, the view's law) at each trained token that the view covers; 0 at the others.

    The view is the policy itself at the start of the step, after other words (the gold answer, feedback, the next right
    action) and without gradient; the student never sees those words. `divergence`: KL(q || p)
    `forward_kl`, KL(p || q) `reverse_kl`, `jsd` with share `mix` of the teacher, over the vocabulary or the teacher's
    `top` likeliest tokens and all others as one; `sampled` is the log-ratio at the sampled token, whose mean and mean
    gradient are those of `reverse_kl` and which needs no whole law. Both laws at the temperature of the sampling.

    With a gold or feedback view and no other term this is on-policy self-distillation (SDFT arXiv 2601.19897, OPSD,
    SDPO arXiv 2601.20802, without their slowly moving teacher); beside an outcome's policy loss and with gold actions,
    GAPD (arXiv 2605.29584). An empty instruction makes teacher and student one: the first update of a step then feels
    nothing. Use it where the policy does better when told more; not where it can only copy what it was told, as it then
    learns to guess. Costs one more forward pass a step and, except with `sampled`, both laws of each covered token, a
    chunk of tokens at a time.
    """

    view: ContextView = AnotherContext("gold", GOLD)
    divergence: Literal["forward_kl", "reverse_kl", "jsd", "sampled"] = "jsd"
    mix: float = 0.5
    top: int = 100
    weight: float = 0.1

    def __post_init__(self) -> None:
        if self.weight < 0 or self.top < 0:
            raise ValueError("weight and top must be at least 0 (top 0 compares the whole vocabulary)")
        if not 0 < self.mix < 1:
            raise ValueError(
                f"mix is the teacher's share of the middle, between 0 and 1, got {self.mix}; its ends are"
                " divergence=reverse_kl and forward_kl"
            )

    @property
    def name(self) -> str:
        return "view_distillation"

    @property
    def needs(self) -> frozenset[type]:
        return frozenset({Views})

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        return (self.view,)

    def measured(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence
    ) -> tuple[Float[Tensor, "N T"], tuple[Metric, ...]]:
        view = evidence[Views][self.view.name]
        apart = self.sampled(scores, view, batch) if self.divergence == "sampled" else self.whole(scores, view, batch)
        covered = float(view.covers.sum())
        metrics = (
            Metric("policy/view_divergence", float(apart.detach()[view.covers].sum()), covered),
            Metric("policy/view_covered", covered, float(batch.sampled_mask.sum())),
        )
        return apart, metrics

    def whole(self, scores: TokenScores, view: View, batch: TokenBatch) -> Float[Tensor, "N T"]:
        """The divergence of the two laws."""
        kind = self.divergence
        assert kind != "sampled"

        def read(logits: Tensor, states: Tensor, heat: Tensor) -> tuple[Tensor]:
            with torch.no_grad():
                told = heated(view.head(states), heat)
            return (divergence(heated(logits, heat), told.to(logits.dtype), kind, self.mix, self.top),)

        laws = Laws(scores.laws.states[view.covers[batch.sampled_mask]], scores.laws.head)
        return scatter_sampled(laws.read(read, view.states, batch.temperature[view.covers])[0], view.covers)

    def sampled(self, scores: TokenScores, view: View, batch: TokenBatch) -> Float[Tensor, "N T"]:
        """log p - log q at the sampled token as a number, times exp(log p) over itself: d = (log p - log q) d log p."""
        policy = scores.policy_logprobs
        gap = (policy.detach() - view_logprobs(view, batch)).where(view.covers, 0.0)
        return gap * torch.exp(policy - policy.detach())
