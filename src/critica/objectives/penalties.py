"""What the policy pays for besides its return: distance from a reference, and certainty."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from critica.functional.divergences import k1, k2, k3
from critica.records.evidence import ReferenceLogprobs


@dataclass(frozen=True, slots=True)
class ReferenceKl:
    """weight * estimate of KL(policy || reference) in the loss.

    `k3` is GRPO's (an unbiased value whose gradient is not the KL's), `k2` has the KL's gradient on-policy,
    `k1` has an unbiased value and a gradient that vanishes in expectation (objectives note, 1.1).
    """

    weight: float = 0.04
    estimator: Literal["k1", "k2", "k3"] = "k3"
    name: ClassVar[str] = "reference_kl"
    needs: ClassVar[frozenset[type]] = frozenset({ReferenceLogprobs})

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"a KL penalty's weight cannot be negative, got {self.weight}")

    def values(
        self,
        policy_logprobs: Float[Tensor, "N T"],
        entropies: Float[Tensor, "N T"],
        reference_logprobs: Float[Tensor, "N T"] | None,
    ) -> Float[Tensor, "N T"]:
        """The penalty of each token, before its weight."""
        assert reference_logprobs is not None
        estimator = {"k1": k1, "k2": k2, "k3": k3}[self.estimator]
        return estimator(policy_logprobs, reference_logprobs)


@dataclass(frozen=True, slots=True)
class Entropy:
    """-bonus * entropy of the policy at each sampled position (nats): keeps it exploring."""

    bonus: float = 0.01
    name: ClassVar[str] = "entropy"
    needs: ClassVar[frozenset[type]] = frozenset()

    @property
    def weight(self) -> float:
        """The bonus, as the weight of a term to be minimized."""
        return self.bonus

    def values(
        self,
        policy_logprobs: Float[Tensor, "N T"],
        entropies: Float[Tensor, "N T"],
        reference_logprobs: Float[Tensor, "N T"] | None,
    ) -> Float[Tensor, "N T"]:
        """Minus the entropy of each position."""
        return -entropies
