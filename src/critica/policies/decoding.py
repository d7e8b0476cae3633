"""How answers come out of a policy: token by token, or by something that asks it many times."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from critica.policies.base import Policy, TrainablePolicy


class DecodingPart(ABC):
    """A way of writing. `trainable` says whether the log-probs that come with an answer are those of its law."""

    trainable: bool = True

    @abstractmethod
    def build(self, policy: TrainablePolicy) -> Policy:
        """Who writes, given the policy."""


@dataclass(frozen=True, slots=True)
class TokenByToken(DecodingPart):
    """Each token from the policy's law given those before it."""

    def build(self, policy: TrainablePolicy) -> Policy:
        return policy
