"""CodeRL's critic: how an answer will end (compile error, runtime error, failed test, passed), token by token."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import LearnedCritic, read_width
from critica.policies.base import Backbone
from critica.records.arrays import Categorical, Law, Scalar, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean

TOLERANCE = 1e-4  # a reward this near to a class's is that class


@dataclass(frozen=True, slots=True)
class OutcomeClasses(CriticPart):
    """p(u | tokens_<t) over the finite set of outcomes u that a source tells apart by their rewards, `rewards`.

    The default four are CodeRL's: compile error -1, runtime error -0.6, failed test -0.3, passed 1 (arXiv 2207.01780,
    eq. 4; `reward=program_outcome` gives them). Fitted by cross-entropy to the whole answer's class. `pooling` none
    does so at every token (our choice: then p is the chance of each ending given the prefix, a law like any other, and
    V its mean); `max` pools the logits over the answer's tokens and fits the one sum, as published, after which the
    numbers by token are scores that rank, not chances. A reward between the classes is an error, so injected noise must
    turn one class into another. Starts at equal chances.

    Use it where sources say more than right or wrong, and where answers are to be cut and resumed (critical sampling).
    Not for rewards on a scale. Costs one output a class beside the body.
    """

    rewards: tuple[float, ...] = (-1.0, -0.6, -0.3, 1.0)
    pooling: Literal["none", "max"] = "none"
    body: Body = field(default_factory=OwnBody)
    distributional: ClassVar[bool] = True
    law: ClassVar[type[Law]] = Categorical
    regularizers: ClassVar[tuple[()]] = ()

    def __post_init__(self) -> None:
        if len(self.rewards) < 2 or sorted(set(self.rewards)) != list(self.rewards):
            raise ValueError(
                f"critic.rewards are the classes', two or more, each higher than the one before; got {self.rewards}"
            )

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        head = nn.Linear(read_width(reader, context), len(self.rewards))
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return LiveOutcomeClasses(self, reader, head, context)


class LiveOutcomeClasses(LearnedCritic):
    """An outcome critic with weights."""

    def __init__(self, part: OutcomeClasses, reader: Backbone | None, head: nn.Linear, context: CriticContext) -> None:
        super().__init__(part.body, reader, head, context)
        self.rewards, self.pooling = torch.tensor(part.rewards), part.pooling

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        probs, final = self.head(states).softmax(-1), self.head(ends).softmax(-1)
        rewards = self.rewards.to(probs)
        return ValuePrediction(
            scatter_sampled(probs @ rewards, batch.sampled_mask),
            batch.sampled_mask,
            bootstrap=final @ rewards,
            law=Categorical(rewards, scatter_sampled(probs[:, None], batch.sampled_mask)),
            bootstrap_law=Categorical(rewards, final[:, None, None]),
        )

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        if not isinstance(targets, Scalar):
            raise TypeError("an outcome's class is read off a number; set target=monte_carlo")
        logits = self.head(states)
        if self.pooling == "max":
            rows = batch.sampled_mask.nonzero()[:, 0]
            pooled = logits.new_full((batch.rows, logits.shape[-1]), -torch.inf)
            pooled = pooled.scatter_reduce(0, rows[:, None].expand_as(logits), logits, "amax")
            logits = pooled[rows]
        taught = targets.mask[batch.sampled_mask]
        label = class_of(targets.values[targets.mask], self.rewards)
        error = nn.functional.cross_entropy(logits[taught], label, reduction="none")
        return (LossTerm("value", scatter_sampled(error, targets.mask), targets.mask, 1.0, TokenMean()),)


def class_of(told: Float[Tensor, "n"], rewards: Float[Tensor, "C"]) -> Int[Tensor, "n"]:
    """The class whose reward this is. Raises ValueError, with the way out, for a reward that is no class's."""
    apart = (told[:, None] - rewards.to(told)).abs()
    gap, label = apart.min(-1)
    if bool((gap > TOLERANCE).any()):
        raise ValueError(
            f"a reward of {float(told[gap.argmax()]):g} is none of the classes' {tuple(rewards.tolist())}: set"
            " critic.rewards to what the source may say (0.0, 1.0 for right and wrong)"
        )
    return label
