"""What the policy pays for besides its return: distance from a reference, and certainty."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from critica.functional.divergences import k1, k2, k3
from critica.functional.ratios import importance
from critica.objectives.base import Penalty, TokenScores
from critica.records.evidence import Evidence, ReferenceLogprobs


@dataclass(frozen=True, slots=True)
class ReferenceKl(Penalty):
    """weight * estimate of KL(policy || reference) in the loss.

    `k3` is GRPO's (an unbiased value whose gradient is not the KL's), `k2` has the KL's gradient on-policy,
    `k1` has an unbiased value and a gradient that vanishes in expectation (objectives note, 1.1). `off_policy`
    multiplies by exp(policy - proximal), with gradient: at the first update of a step k1 and k3 then have the KL's
    gradient (DeepSeek-V3.2; TRL's `use_bias_correction_kl`).
    """

    weight: float = 0.04
    estimator: Literal["k1", "k2", "k3"] = "k3"
    off_policy: bool = False

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"a KL penalty's weight cannot be negative, got {self.weight}")

    @property
    def name(self) -> str:
        return "reference_kl"

    @property
    def needs(self) -> frozenset[type]:
        return frozenset({ReferenceLogprobs})

    def values(self, scores: TokenScores, evidence: Evidence) -> Float[Tensor, "N T"]:
        estimator = {"k1": k1, "k2": k2, "k3": k3}[self.estimator]
        values = estimator(scores.policy_logprobs, evidence[ReferenceLogprobs].logprobs)
        if not self.off_policy:
            return values
        moved = scores.policy_logprobs - scores.proximal_logprobs
        return values * importance(moved) * (1 + moved - moved.detach())  # d exp(x) = exp(x) dx


@dataclass(frozen=True, slots=True)
class Entropy(Penalty):
    """-bonus * entropy of the policy at each sampled position (nats): keeps it exploring."""

    bonus: float = 0.01

    @property
    def name(self) -> str:
        return "entropy"

    @property
    def weight(self) -> float:
        """The bonus, as the weight of a term to be minimized."""
        return self.bonus

    @property
    def needs_entropy_gradient(self) -> bool:
        return True

    def values(self, scores: TokenScores, evidence: Evidence) -> Float[Tensor, "N T"]:
        return -scores.entropies


@dataclass(frozen=True, slots=True)
class SampledCertainty(Penalty):
    """weight * mean of -log pi of the sampled tokens: a price on entropy, as GCPO's code has it.

    -log pi of a token that the policy drew is the entropy on average, but its gradient through fixed samples is not:
    d(-log pi) is 0 on average, so that at the first update of a step this moves the policy at random, and at later ones
    toward what it sampled before. `Entropy(bonus=-weight)` prices the entropy itself.
    """

    weight: float = 0.02

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"a price on entropy is at least 0, got {self.weight}; for a bonus take penalty=entropy")

    @property
    def name(self) -> str:
        return "sampled_certainty"

    def values(self, scores: TokenScores, evidence: Evidence) -> Float[Tensor, "N T"]:
        return -scores.policy_logprobs
