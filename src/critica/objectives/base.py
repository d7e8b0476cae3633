"""What an objective is: loss terms over tokens, from the scores of the weights being trained."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm


@dataclass(frozen=True, slots=True)
class TokenScores:
    """The sampled tokens under the weights being trained (with gradient) and at the center of the trust region.

    `logits` are those that each sampled token was drawn from, before temperature, row-major; empty unless the
    objective says `needs_logits`.
    """

    policy_logprobs: Float[Tensor, "N T"]
    proximal_logprobs: Float[Tensor, "N T"]
    entropies: Float[Tensor, "N T"]
    logits: Float[Tensor, "S V"]


class Objective(ABC):
    """A stateless loss of the policy: a frozen dataclass. Reduction is a separate act, with the step's denominators."""

    @property
    @abstractmethod
    def needs(self) -> frozenset[type]: ...  # evidence that its terms read

    @property
    def needs_entropy_gradient(self) -> bool:
        """Whether a term differentiates the entropy."""
        return False

    @property
    def needs_logits(self) -> bool:
        """Whether a term reads the whole next-token law, not the sampled token's log-probability alone."""
        return False

    @abstractmethod
    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """The tokens that count in each term, known before any forward pass: denominators are taken from them."""

    @abstractmethod
    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        """Loss terms of these rows and what to report about them."""
