"""A critic that is also taught what a finished answer was worth: the state after the last token is one of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.categorical import CategoricalCritic
from critica.critics.combine import Around, Learning, refuse_clip, require_trainable
from critica.critics.learned import LearnedCritic
from critica.records.arrays import (
    Point,
    RewardBatch,
    Samples,
    Scalar,
    TokenBatch,
    ValuePrediction,
    ValueTargets,
)
from critica.records.evidence import Evidence, HiddenStates
from critica.records.losses import LossTerm


@dataclass(frozen=True, slots=True)
class TaughtEnds(Around):
    """The critic inside, which also learns V(s_{T+1}) = what the last token was taught.

    Advantages never read the value after an ending, so an ordinary critic is never taught it. Value guidance does: the
    candidates for the next token are judged by the states that they lead to, and one of them ends the text (Q#'s
    V-type model reads prompt + answer + candidate, arXiv 2502.20548). Predictions are the inner critic's, unchanged.

    Use it around the critic that guides decoding; not where nobody reads the value after an ending. For rewards that
    arrive at the end; a reward paid on the way would have to be added to the state's. It costs one
    more state a row, and with a body of its own a forward pass that a prediction might have lent (the update's batch is
    one token longer). With critic=categorical, atoms 2 and two-hot coding it is Q#'s Bernoulli value.
    """

    critic: CriticPart = field(default_factory=lambda: CategoricalCritic(atoms=2, encoding="two_hot"))

    def __post_init__(self) -> None:
        if self.critic.group_based:
            raise ValueError(
                "only a critic that learns can be taught ends, and this one counts; set critic.critic=scalar"
            )
        refuse_clip(self.critic, "a critic that is taught ends")

    def build(self, context: CriticContext) -> ValueCritic:
        inner = self.critic.build(context)
        require_trainable(inner, "a critic that is taught ends")
        if not isinstance(inner, LearnedCritic):
            raise ValueError(
                f"{type(inner).__name__} does not read states by a head of its own, so there is no end to teach it; set"
                " critic.critic=categorical, scalar, bounded, quantile or gaussian"
            )
        return LiveTaughtEnds(inner)


class LiveTaughtEnds(Learning):
    """The critic inside, and the state after each row of the step when it reads the policy's own."""

    def __init__(self, inner: LearnedCritic) -> None:
        super().__init__((("inner", inner),))
        self.inner = inner
        self._ends: Mapping[str, Tensor] = {}

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        if not self.has_body:
            ends = evidence[HiddenStates].bootstrap
            self._ends = dict(zip(batch.trajectory_ids, ends.unbind(0), strict=True))
        return self.inner.predict(batch, told, evidence)

    def states(self, batch: TokenBatch) -> Float[Tensor, "S D"]:
        """The body's states before each sampled token and after each row's last."""
        return super().states(with_end(batch))

    def loss(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        longer = with_end(batch)
        if not self.has_body:
            ends = torch.stack([self._ends[name] for name in batch.trajectory_ids])
            is_end = at_end(batch)[longer.sampled_mask]
            joined = states.new_empty(len(is_end), states.shape[-1])
            joined[~is_end], joined[is_end] = states, ends.to(states.dtype)
            states = joined
        blank = values.mean.new_zeros(batch.rows, 1)
        grown = replace(
            values, mean=torch.cat((values.mean, blank), 1), mask=longer.sampled_mask,
            law=Point(), bootstrap_law=Point(), support=None, nodes=None,
        )  # fmt: skip
        return super().loss(states, longer, with_end_targets(targets, batch), grown)


def at_end(batch: TokenBatch) -> Bool[Tensor, "N L"]:
    """On a grid one wider than the batch's: the place after each row's last token."""
    places = torch.arange(batch.token_ids.shape[1] + 1, device=batch.token_ids.device)
    return places == batch.lengths[:, None]


def with_end(batch: TokenBatch) -> TokenBatch:
    """One more sampled token in every row, whatever it is: the state before it is the one after the answer."""
    end = at_end(batch)
    rows = end.nonzero()[:, 0]
    last = batch.lengths - 1

    def longer(grid: Tensor, fill: int | float) -> Tensor:
        return torch.cat((grid, grid.new_full((batch.rows, 1), fill)), 1)

    valid, sampled = longer(batch.valid_mask, False), longer(batch.sampled_mask, False)
    turns, nodes = longer(batch.turn_index, -1), longer(batch.node_index, -1)
    turns[end] = batch.turn_index[rows, last]
    nodes[end] = batch.node_index.amax(1) + 1
    return replace(
        batch, token_ids=longer(batch.token_ids, 0), valid_mask=valid | end, sampled_mask=sampled | end,
        turn_index=turns, node_index=nodes, temperature=longer(batch.temperature, 1.0),
        behavior_logprobs=longer(batch.behavior_logprobs, 0.0),
    )  # fmt: skip


def with_end_targets(targets: ValueTargets, batch: TokenBatch) -> ValueTargets:
    """The end is taught what the row's last sampled token is taught, if that is taught anything."""
    width = batch.sampled_mask.shape[1]
    last = width - 1 - batch.sampled_mask.flip(1).int().argmax(1)
    rows, end = torch.arange(batch.rows, device=batch.device), at_end(batch)

    def longer(grid: Tensor) -> Tensor:
        made = torch.cat((grid, torch.zeros_like(grid[:, :1])), 1)
        made[end] = grid[rows, last]
        return made

    mask = longer(targets.mask)
    if isinstance(targets, Samples):
        return Samples(longer(targets.values), longer(targets.weights), mask)
    if isinstance(targets, Scalar):
        return Scalar(longer(targets.values), mask)
    raise TypeError(f"an end is taught a number or a law, not {type(targets).__name__}")
