"""What an objective is: loss terms over tokens, from the scores of the weights being trained."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.head import Reader, read_laws
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm
from critica.records.views import ViewSpec


@dataclass(frozen=True, slots=True)
class InnerStates:
    """What the policy has in mind part of the way up, from the same forward pass, beside what it ends with.

    `states` carry gradient, through the final norm as it is; `final` carry none. `head` makes logits of either; take
    its gradient with respect to the states alone.
    """

    states: Float[Tensor, "S D"]
    final: Float[Tensor, "S D"]
    head: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Laws:
    """The whole next-token law of each sampled token, for an objective that reads it a few tokens at a time.

    `states` carry the gradient of the policy; `head` makes logits of them, before temperature.
    """

    states: Float[Tensor, "S D"]
    head: Callable[[Tensor], Tensor]

    def read(self, reader: Reader, *along: Tensor) -> tuple[Tensor, ...]:
        """What `reader` makes of logits and of what comes `along`, see `read_laws`: no [S V] outlives a chunk."""
        return read_laws(self.head, self.states, reader, *along)

    def detached(self) -> "Laws":
        """The same laws, to be read without gradient."""
        return Laws(self.states.detach(), self.head)


def unread(states: Tensor) -> Tensor:
    """The head of laws that nobody supplied."""
    raise NotImplementedError("these scores come without the policy's states: an objective that couples rows has none")


def no_laws() -> Laws:
    """Of scores that come without them."""
    return Laws(torch.zeros(0, 0), unread)


@dataclass(frozen=True, slots=True)
class TokenScores:
    """The sampled tokens under the weights being trained (with gradient) and at the center of the trust region.

    `inner` has one entry for each of the objective's `depths`.
    `laws` are there for every objective that sees its rows piece by piece, and cost nothing unless they are read.
    """

    policy_logprobs: Float[Tensor, "N T"]
    proximal_logprobs: Float[Tensor, "N T"]
    entropies: Float[Tensor, "N T"]
    inner: Mapping[float, InnerStates] = field(default_factory=dict)
    laws: Laws = field(default_factory=no_laws)


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
    def depths(self) -> tuple[float, ...]:
        """How far up, as shares of the layers, its terms read the policy's own states, with gradient."""
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
    def reads_laws(self) -> bool:
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
    def views(self) -> tuple[ViewSpec, ...]:
        """Other readings of the same tokens that it looks at."""
        return ()

    @property
    def depths(self) -> tuple[float, ...]:
        """How far up it reads the policy's own states, with gradient."""
        return ()

    @property
    def reads_laws(self) -> bool:
        return False

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


class TokenPenalty(Penalty):
    """A penalty that also looks at the tokens themselves and at their credit, and has something to report."""

    @abstractmethod
    def measured(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence
    ) -> tuple[Float[Tensor, "N T"], tuple[Metric, ...]]: ...  # before its weight

    def values(self, scores: TokenScores, evidence: Evidence) -> Float[Tensor, "N T"]:
        """Never asked for: `measured` is."""
        raise NotImplementedError(f"{type(self).__name__} is measured with its tokens: call measured")
