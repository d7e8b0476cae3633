"""What an objective is: loss terms over tokens, from the scores of the weights being trained."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm
from critica.records.views import ViewSpec


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
    def views(self) -> tuple[ViewSpec, ...]:
        """Other readings of the same tokens that its terms look at, by name in `evidence[Views]`."""
        return ()

    @property
    def couples_rows(self) -> bool:
        """Whether a term is no sum over rows: its gradient at one row depends on the log-probs of others.

        The learner then shows it the whole optimizer step at once, whatever the size of a micro-batch. Such a term
        reads log-probs, neither logits nor an entropy's gradient, and its own mask is what it is divided by.
        """
        return False

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


class Penalty(ABC):
    """A stateless term beside the policy's own, over the same tokens, with a weight of its own."""

    @property
    @abstractmethod
    def name(self) -> str: ...  # of its loss and of its metric

    weight: float

    @property
    def needs(self) -> frozenset[type]:
        """Evidence that it reads."""
        return frozenset()

    @property
    def needs_entropy_gradient(self) -> bool:
        return False

    @property
    def reads_outcomes(self) -> bool:
        """Whether it looks at what was told beyond the credit made of it."""
        return False

    def rows(self, told: RewardBatch) -> Bool[Tensor, "N"]:
        """The rows that it speaks about: all, unless it says otherwise."""
        return torch.ones_like(told.all_known)

    @abstractmethod
    def values(self, scores: TokenScores, evidence: Evidence) -> Float[Tensor, "N T"]: ...  # before its weight
