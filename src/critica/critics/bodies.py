"""Where a learned critic reads its features: a body of its own, the policy's trunk, or a small model."""

from dataclasses import dataclass

from critica.policies.base import Backbone, TrainablePolicy


@dataclass(frozen=True, slots=True)
class OwnBody:
    """A copy of the policy's backbone with weights of its own (PPO's usual critic; doubles the memory)."""

    def build(self, policy: TrainablePolicy) -> Backbone | None:
        from critica.policies.language_model import LanguageBackbone  # heavy, and a plan never needs it

        return LanguageBackbone.from_policy(policy)


@dataclass(frozen=True, slots=True)
class SharedTrunk:
    """The policy's own last hidden states: no second forward. `detached` keeps the critic's gradient out of them.

    `weight` scales the critic's gradient into the trunk when it is not detached.
    """

    detached: bool = True
    weight: float = 0.1

    def build(self, policy: TrainablePolicy) -> Backbone | None:
        return None


@dataclass(frozen=True, slots=True)
class SmallModel:
    """Another model's backbone (a folder or a hub name) that reads the same token ids."""

    path: str

    def build(self, policy: TrainablePolicy) -> Backbone | None:
        from critica.policies.language_model import LanguageBackbone

        return LanguageBackbone.load(self.path)


Body = OwnBody | SharedTrunk | SmallModel
