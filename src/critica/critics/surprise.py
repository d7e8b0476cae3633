"""The surprise critic: a tiny network that reads how sure the policy was of what it wrote."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, SharedTrunk
from critica.critics.bounded import LiveBoundedCritic
from critica.functional.logprobs import token_entropies
from critica.functional.random import torch_generator
from critica.functional.surprise import SURPRISE_COLUMNS, surprise_columns
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction, scatter_sampled
from critica.records.evidence import Evidence, HiddenStates

COUNTED_TOKENS = 1 << 14  # logits of so many states at once


@dataclass(frozen=True, slots=True)
class SurpriseCritic(CriticPart):
    """V(s) = low + (high - low) (1/2 + atan(f(x(s))) / pi), x(s) the policy's own doubts on the way to s.

    x holds seven numbers (`functional.surprise`): the surprise -log pi of the tokens so far (last, sum, largest, mean),
    the entropy here and summed, the length. `hidden`: units of each of f's two layers, at 64 about 5,000 weights in
    all. `states`: x also holds the policy's last hidden state. Inputs are noted at `predict`, from the weights that
    wrote. Ours; that a model's confidence tells right from wrong answers is old, as a baseline at every token we know
    of no publication.
    Use it when a value is needed at once: it knows after some hundred answers what a critic with a transformer of its
    own learns from ten thousand, it follows the policy (its inputs *are* the policy's), and it costs one pass through
    the output matrix. Not where the policy errs without doubt: confident errors are invisible to it without `states`,
    and mostly with them. Costs S x D x V multiplications a step and no second model; several `learner.critic_epochs`
    are nearly free.
    """

    hidden: int = 64
    states: bool = False

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"hidden counts units, got {self.hidden}: without a hidden layer doubts cannot interact")

    @property
    def body(self) -> Body:
        """The policy's own, read without gradient."""
        return SharedTrunk()

    def build(self, context: CriticContext) -> ValueCritic:
        width = SURPRISE_COLUMNS + (context.policy.width if self.states else 0)
        return LiveSurpriseCritic(self, surprise_head(width, self.hidden, context.seed), context)


def evened(states: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
    """Each state at mean 0 and variance 1: policies differ in the size of theirs."""
    return nn.functional.layer_norm(states.float(), states.shape[-1:])


def surprise_head(width: int, hidden: int, seed: int) -> nn.Module:
    """Two GELU layers of drawn weights and a linear one of zeros: it starts in the middle of the range."""
    layers = [nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)]
    with torch.no_grad():
        for number, layer in enumerate(layers[:2]):
            bound = layer.in_features**-0.5
            layer.weight.uniform_(-bound, bound, generator=torch_generator(seed, "critic/surprise", number))
            layer.bias.zero_()
        layers[2].weight.zero_()
        layers[2].bias.zero_()
    return nn.Sequential(layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2])


class LiveSurpriseCritic(LiveBoundedCritic):
    """A surprise critic with weights. What it read of each row at `predict` is what `loss` learns from."""

    def __init__(self, part: SurpriseCritic, head: nn.Module, context: CriticContext) -> None:
        super().__init__(SharedTrunk(), None, head, context)
        self.has_body = True  # its inputs are kept here, so the learner may go over a batch as often as it likes
        self.part, self.policy = part, context.policy
        self._noted: dict[str, Tensor] = {}

    @torch.no_grad()
    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        """What is expected before each sampled token, from the policy's hidden states through its own output layer."""
        inputs, ends = self.inputs(batch, evidence[HiddenStates])
        counts = batch.sampled_mask.sum(-1).tolist()
        self._noted = dict(zip(batch.trajectory_ids, inputs.split(counts), strict=True))
        self._set_mode(training=False)
        return self.read(batch, inputs, ends)

    def inputs(self, batch: TokenBatch, hidden: HiddenStates) -> tuple[Float[Tensor, "S F"], Float[Tensor, "N F"]]:
        """x before each sampled token and after each row's last, in fp32."""
        mask = batch.sampled_mask
        last = (mask * torch.arange(mask.shape[1], device=mask.device)).amax(-1)
        heat = batch.temperature[torch.arange(batch.rows, device=last.device), last]
        entropy = scatter_sampled(self._entropies(hidden.states, batch.temperature[mask]), mask)
        surprise = (-batch.behavior_logprobs).clamp(min=0.0).float() * mask
        inputs, ends = surprise_columns(surprise, entropy, self._entropies(hidden.bootstrap, heat), mask)
        if self.part.states:
            inputs = torch.cat([inputs, evened(hidden.states)], -1)
            ends = torch.cat([ends, evened(hidden.bootstrap)], -1)
        return inputs, ends

    def _entropies(self, states: Float[Tensor, "S D"], temperature: Float[Tensor, "S"]) -> Float[Tensor, "S"]:
        """In nats, a part of the logits at a time."""
        parts = zip(states.split(COUNTED_TOKENS), temperature.split(COUNTED_TOKENS), strict=True)
        return torch.cat([token_entropies(self.policy.logits(some), heat).float() for some, heat in parts])

    def states(self, batch: TokenBatch) -> Float[Tensor, "S F"]:
        """What was noted of these rows at the last `predict`. Raises `KeyError` for rows that it did not see."""
        return torch.cat([self._noted[name] for name in batch.trajectory_ids])

    def expect(self, states: Float[Tensor, "n D"]) -> Float[Tensor, "n"]:
        """Not from a bare state: what was written before it is not known."""
        raise TypeError(
            "a surprise critic values a path, not a state; where something asks in the middle of decoding take one"
            " that reads the policy's states, such as critic=scalar with critic.body=shared"
        )
