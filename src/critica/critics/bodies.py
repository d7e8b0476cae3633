"""Where a learned critic reads its features: a body or adapters of its own, the policy's trunk, or a small model."""

from dataclasses import dataclass

from critica.policies.base import Backbone, TrainablePolicy
from critica.policies.body_mode import PLAIN, HasBodyMode, device_of
from critica.policies.part import Lora


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

        mode = policy.mode if isinstance(policy, HasBodyMode) else PLAIN
        return LanguageBackbone.load(self.path, str(device_of(policy.model)), mode=mode)


@dataclass(frozen=True, slots=True)
class LoraBody:
    """The policy's backbone with low-rank adapters of the critic's own: it is frozen, they and the head are trained.

    The policy trains adapters too (`policy.lora.rank`): both stand on one base, and no weight is held twice. The
    critic's begin at zero, on the base without the policy's own. Use it where a full second model does not fit; a
    shared trunk is cheaper still, and learns less.
    """

    rank: int = 16
    alpha: int = 32
    target_modules: tuple[str, ...] = Lora().target_modules

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 1:
            raise ValueError("a critic's adapters have body.rank and body.alpha of at least 1")

    def build(self, policy: TrainablePolicy) -> Backbone | None:
        from critica.policies.language_model import LanguageBackbone

        return LanguageBackbone.adapted(policy, Lora(self.rank, self.alpha, 0.0, self.target_modules))


Body = OwnBody | SharedTrunk | SmallModel | LoraBody
