"""Credit spread over an answer's tokens by how much each depends on the prompt's guidance (GCPO)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from critica.advantages.base import AdvantageRule
from critica.functional.contrast import contrast, linear_weights, rank_weights, softmax_weights, top_weights
from critica.functional.view_logprobs import view_logprobs
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, ProximalLogprobs, Views
from critica.records.protocols import CriticTraits
from critica.records.views import AnotherContext, ViewSpec

WRONGLY = "but generate the wrong answer"


class Spread(ABC):
    """A stateless rule from a number per token to weights whose mean over each row's mask is 1."""

    @abstractmethod
    def weights(self, values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]: ...


@dataclass(frozen=True, slots=True)
class RankPower(Spread):
    """By rank alone: the top `share` of a row's tokens get `mass` of its weight."""

    share: float = 0.4
    mass: float = 0.8

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 and self.share <= self.mass < 1):
            raise ValueError(
                f"the top share ({self.share}) must get its own part of the mass or more, both between 0 and 1, got"
                f" mass={self.mass}; share = mass weighs all tokens alike"
            )

    def weights(self, values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        return rank_weights(values, mask, self.share, self.mass)


@dataclass(frozen=True, slots=True)
class SoftmaxSpread(Spread):
    """softmax(d / max d / 0.1): nearly all weight to the few most guided tokens."""

    def weights(self, values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        return softmax_weights(values, mask)


@dataclass(frozen=True, slots=True)
class LinearSpread(Spread):
    """(d - min) / (max - min), at least 0.2, before scaling: one far token leaves the others alike."""

    def weights(self, values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        return linear_weights(values, mask)


@dataclass(frozen=True, slots=True)
class TopSpread(Spread):
    """d itself on the top `share` of the tokens; the others learn nothing."""

    share: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share is a part of a row's tokens, above 0 and at most 1, got {self.share}")

    def weights(self, values: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        return top_weights(values, mask, self.share)


@dataclass(frozen=True, slots=True)
class Contrast(AdvantageRule):
    """A_t = w_t A_t of `inner`, w of mean 1 over each row and larger where the other context changes the token more.

    d_t = e^delta - delta - 1, delta = log pi(y_t | other context) - log pi(y_t | its own), both by the policy at the
    start of the step; `spread` makes weights of d. GCPO (arXiv 2605.29198), formulas from its code (`dp_actor.py`,
    `importance.py`): rank weights, top 40% of tokens with 80% of the mass. Where we differ: equal d share their mean
    rank, and |delta| below `floor` nats counts as 0. The code breaks ties by position (argsort) and ranks rounding
    errors, so that its weights depend on where a token stands even if the other context is the same; ours are then
    exactly 1 and the rule is `inner` to the bit. The code weighs anew at each minibatch of a step, we once a step.

    Weights that depend on the drawn token are no baseline: the expected gradient is no longer that of the return
    (`reads_own_tokens`). Use it where long answers carry few decisions and an instruction can turn those; not where
    unbiased credit matters, nor with a policy too small to follow the instruction: d then ranks noise about style.
    Costs one more forward pass a step.
    """

    inner: AdvantageRule
    view: AnotherContext = AnotherContext("guidance", WRONGLY)
    spread: Spread = RankPower()
    floor: float = 1e-4

    def __post_init__(self) -> None:
        if self.floor < 0:
            raise ValueError(f"floor is a difference of log-probs in nats, at least 0, got {self.floor}")

    @property
    def needs(self) -> frozenset[type]:
        """What is inside, the view, and the policy's own log-probs."""
        return self.inner.needs | {Views, ProximalLogprobs}

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        """The other context beside what is inside."""
        return (*self.inner.views, self.view)

    @property
    def reads_own_tokens(self) -> bool:
        """Always."""
        return True

    @property
    def scale_free(self) -> bool:
        """As what is inside: weights look at no reward."""
        return self.inner.scale_free

    @property
    def divides_by_group_spread(self) -> bool:
        """As what is inside."""
        return self.inner.divides_by_group_spread

    @property
    def shift_free(self) -> bool:
        """As what is inside."""
        return self.inner.shift_free

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        credit = self.inner.estimate(batch, told, values, evidence)
        own = evidence[ProximalLogprobs].logprobs
        other = view_logprobs(evidence[Views][self.view.name], batch)
        weights = self.spread.weights(contrast(own, other, self.floor), credit.mask).to(credit.advantage.dtype)
        return replace(credit, advantage=credit.advantage * weights, rule=f"contrast({credit.rule})")

    def check(self, critic: CriticTraits) -> None:
        """Whatever the inner rule refuses."""
        self.inner.check(critic)
