"""What further rows of an exchange are worth: answers without their critique, and texts to be imitated."""

from dataclasses import dataclass, replace

import torch

from critica.advantages.base import AdvantageRule
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence
from critica.records.protocols import CriticTraits
from critica.records.views import ViewSpec
from critica.records.words import label_of

IMITATED = ("critique", "expert")


@dataclass(frozen=True, slots=True)
class FeedbackCredit(AdvantageRule):
    """The turns' own credit from `inner`; rows labeled `single`, and `critique` or `expert`, weighed.

        single:            A = single * (r1 - V), without the tokens whose log p(y1_t | x0) is below `floor`
        critique, expert:  A = imitation, so that a policy gradient there is `imitation` times the cross-entropy

    Log-probs are those at the start of the update (`rollout.relabel`), so that with one update a step the mask is the
    paper's. A weight of 0 takes the rows out of the loss and of its denominators. RLTF-SD has `single` 0.1 (the
    released scripts raise it from 0 in mathematics), RLTF-FM has `imitation` 0.1 (arXiv 2602.02482).
    """

    inner: AdvantageRule
    single: float = 0.0
    imitation: float = 0.0
    floor: float = -5.0

    def __post_init__(self) -> None:
        if self.single < 0 or self.imitation < 0:
            raise ValueError("advantage.single and advantage.imitation are weights, at least 0")
        if self.floor >= 0:
            raise ValueError(f"advantage.floor is a log-probability below which tokens are left out, got {self.floor}")

    @property
    def needs(self) -> frozenset[type]:
        """As what is inside."""
        return self.inner.needs

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        """As what is inside."""
        return self.inner.views

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        credit = self.inner.estimate(batch, told, values, evidence)
        labels = [label_of(name) for name in batch.trajectory_ids]
        single = torch.tensor([label == "single" for label in labels], device=batch.device)[:, None]
        imitated = torch.tensor([label in IMITATED for label in labels], device=batch.device)[:, None]
        likely = batch.behavior_logprobs >= self.floor
        mask = credit.mask & (~single | (likely & (self.single > 0))) & (~imitated | (self.imitation > 0))
        advantage = torch.where(single, self.single * credit.advantage, credit.advantage)
        advantage = torch.where(imitated, torch.full_like(advantage, self.imitation), advantage).where(mask, 0.0)
        return replace(credit, advantage=advantage, mask=mask, rule=f"feedback_credit({credit.rule})")

    def check(self, critic: CriticTraits) -> None:
        """Whatever the inner rule refuses."""
        self.inner.check(critic)
