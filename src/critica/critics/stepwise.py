"""What learned critics with one value a step share: they number the steps of a batch by the texts of its tokens."""

from jaxtyping import Int
from torch import Tensor, nn

from critica.critics.base import CriticContext
from critica.critics.bodies import Body
from critica.critics.learned import LearnedCritic
from critica.functional.steps import Steps
from critica.policies.base import Backbone, TrainablePolicy
from critica.records.arrays import TokenBatch


class StepCritic(LearnedCritic):
    """A learned critic whose values are those of steps."""

    def __init__(
        self,
        steps: Steps,
        body: Body,
        reader: Backbone | None,
        head: nn.Module,
        context: CriticContext,
        layers: tuple[nn.Module, ...] = (),
    ) -> None:
        super().__init__(body, reader, head, context, layers)
        self.steps = steps
        self.policy: TrainablePolicy = context.policy

    def nodes(self, batch: TokenBatch) -> Int[Tensor, "N T"]:
        """The step of each sampled token; -1 elsewhere."""
        texts = () if self.steps.unit == "tokens" else self.policy.token_texts(batch)
        return self.steps.number(batch.sampled_mask, texts)
