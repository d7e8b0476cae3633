"""A critic whose slowly following copy predicts while the critic itself learns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.combine import Around, Learning, refuse_clip, require_trainable
from critica.critics.scalar import ScalarCritic
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Lagged(Around):
    """V from weights w' that follow the learning weights w: w' <- w' + rate (w - w') after each step (Polyak).

    The target network of DDPG (arXiv 1509.02971), for credit too: the copy gives both the advantage's values and what
    targets are bootstrapped from. Use it where bootstrapped targets chase themselves (decay well below 1); not with
    Monte-Carlo targets, where it only makes values older by about 1 / rate steps. `rate` 1 is the critic itself. It
    costs a second copy of the weights and, with a body of its own, a forward pass that the update cannot take over. On
    a shared trunk the head alone lags.
    """

    critic: CriticPart = field(default_factory=ScalarCritic)
    rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate is the share of the way taken in a step, in (0, 1], got {self.rate}")
        refuse_clip(self.critic, "a lagged critic")

    def build(self, context: CriticContext) -> ValueCritic:
        live, copy = self.critic.build(context), self.critic.build(context)
        require_trainable(live, "a lagged critic")
        return LiveLagged(live, copy, self.rate)


class LiveLagged(Learning):
    """The learning critic, and its copy outside of every optimizer."""

    def __init__(self, live: ValueCritic, copy: ValueCritic, rate: float) -> None:
        super().__init__((("live", live),))
        self._parts = (*self._parts, ("lagged", copy))  # remembers like the live one, and learns nothing
        self.live, self.copy = require_trainable(live, "a lagged critic"), require_trainable(copy, "a lagged critic")
        self.follower, self.rate, self.updates = copy, rate, 0
        for _, weight in self.copy.trainable():
            weight.requires_grad_(False)
        self._follow(1.0)

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        return self.follower.predict(batch, told, evidence)

    @torch.no_grad()
    def _follow(self, rate: float) -> None:
        for (_, slow), (_, fast) in zip(self.copy.trainable(), self.live.trainable(), strict=True):
            slow.lerp_(fast, rate)

    def remember(self, batch: TokenBatch, told: RewardBatch) -> None:
        """One step of the way, after each step that taught the critic."""
        super().remember(batch, told)
        self._follow(self.rate)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """How many steps were followed, beside what the critic inside remembers."""
        return {**super().state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As it was; a copy that has followed no step is the live critic as it stands."""
        super().load_state_dict(state)
        self.updates = int(state["updates"])
        if not self.updates:
            self._follow(1.0)

    def save(self, folder: Path) -> None:
        """The learning critic in `live`, its copy in `lagged`."""
        super().save(folder)
        self.copy.save(folder / "lagged")

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        super().load(folder)
        self.copy.load(folder / "lagged")
