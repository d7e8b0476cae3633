"""A loss of the policy of one's own: terms per token, from log-probs with gradient and from credit.

    critica train grpo --set objective=my_objective.py:MyObjective --set learner.policy_epochs=2 --run runs/mine
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from critica.objectives.base import Objective, TokenScores
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True)
class MyObjective(Objective):
    """-A w tanh(log(ratio) / w): a policy gradient at the start, worth less and less the further a token has moved.

    `--set objective.width=0.1`: about how far a token's log-prob goes before nothing more is to be gained.
    """

    width: float = 0.2

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"width is a distance above 0, got {self.width}")

    @property
    def needs(self) -> frozenset[type]:
        """Evidence that the terms read, such as ReferenceLogprobs: what nobody names is not computed."""
        return frozenset()

    def masks(self, credit, told) -> Mapping[str, torch.Tensor]:
        """The tokens that count in each term [N T]: the learner divides by their number over the whole step."""
        return {"policy": credit.mask}

    def terms(self, scores: TokenScores, batch, credit, evidence, told):
        """Each term once, per token and not reduced, and metrics about it (none here: loss/policy is made of it)."""
        moved = scores.policy_logprobs - scores.proximal_logprobs  # log of the ratio; the first has the gradient
        values = -credit.advantage * self.width * torch.tanh(moved / self.width)
        return (LossTerm("policy", values, credit.mask, 1.0, TokenMean()),), ()
