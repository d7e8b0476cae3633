"""A critic of one's own: what outcome to expect before each token, learned with a loss that far-off outcomes pull less.

    critica train ppo --set critic=my_critic.py:MyCritic --steps 20 --run runs/mine
    critica train ppo --set critic=my_critic.py:MyCritic --set critic.width=0.05 --steps 20
    critica critic audit runs/mine
"""

from dataclasses import dataclass

import torch
from torch import nn

from critica.critics.base import CriticContext, CriticPart
from critica.critics.bodies import SharedTrunk
from critica.critics.learned import LearnedCritic
from critica.records.arrays import Scalar, ValuePrediction, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True)
class MyCritic(CriticPart):
    """The settings. Whatever stands here can be set: `--set critic.width=0.05`."""

    width: float = 0.2  # errors beyond it count linearly, not squared

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"width must be above 0, got {self.width}")

    def build(self, context: CriticContext) -> LearnedCritic:
        """The live critic. `context` has the policy, a seed, and the range of what training may be told."""
        return LiveMyCritic(self, context)


class LiveMyCritic(LearnedCritic):
    """A linear head on the policy's own states; saving, loading and microbatches come with `LearnedCritic`."""

    def __init__(self, settings: MyCritic, context: CriticContext) -> None:
        head = nn.Linear(context.policy.width, 1)
        nn.init.zeros_(head.weight)  # a critic that starts with wild values would teach the policy its own noise
        nn.init.zeros_(head.bias)
        super().__init__(SharedTrunk(), None, head, context)
        self.settings = settings

    def read(self, batch, states, ends) -> ValuePrediction:
        """What is expected: `states` [S D] stand before each sampled token, `ends` [N D] after each row's last."""
        mean = scatter_sampled(self.head(states).squeeze(-1), batch.sampled_mask)
        return ValuePrediction(mean, batch.sampled_mask, bootstrap=self.head(ends).squeeze(-1))

    def fit(self, states, batch, targets, values) -> tuple[LossTerm, ...]:
        """The loss of each token [N T], with gradient; the learner averages it over the whole step."""
        assert isinstance(targets, Scalar)
        value = scatter_sampled(self.head(states).squeeze(-1), batch.sampled_mask)
        error = torch.nn.functional.huber_loss(value, targets.values, reduction="none", delta=self.settings.width)
        return (LossTerm("value", error, targets.mask, 1.0, TokenMean()),)
