"""The chunk critic: a value at the start of every chunk of tokens, backed up over whole chunks."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import read_width
from critica.critics.scalar import scalar_head
from critica.critics.stepwise import StepCritic
from critica.functional.expectile import expectile_error, quantile_error
from critica.functional.steps import Steps, step_starts
from critica.policies.base import Backbone
from critica.records.arrays import Scalar, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class ChunkCritic(CriticPart):
    """V at the start of each chunk and Q^P(s, first tokens of the chunk) inside it; credit is by chunk.

    Decoupled Q-chunking (arXiv 2512.10926) for tokens: the critic at the granularity of chunks, so that a backup
    crosses `steps.tokens` of them at once, the policy at that of tokens. At a chunk's start V is fitted by `backup` at
    `backup_level` to Q^P; inside, Q^P is fitted by an expectile at `distill_level` to Q(s, chunk). Levels above 1/2
    are optimistic: V is then of a policy that picks among its chunks (best-of-N is about the (N-1)/N quantile), not of
    the policy that samples; 1/2 with `expectile` is the mean, and quantile 1/2 the median. Use it with
    target=chunk_backup for long answers, where one-step backups are slow and Monte-Carlo targets noisy; not with
    optimistic levels under noisy rewards, whose luck they take for skill.
    Costs what `ScalarCritic` costs: two heads, one body.
    """

    steps: Steps = Steps("tokens", 16)
    backup: Literal["quantile", "expectile"] = "quantile"
    backup_level: float = 0.9
    distill_level: float = 0.5
    body: Body = field(default_factory=OwnBody)
    hidden: int = 0

    def __post_init__(self) -> None:
        for name in ("backup_level", "distill_level"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} lies in (0, 1), got {getattr(self, name)}; 0.5 is not optimistic")
        if self.hidden < 0:
            raise ValueError(f"hidden counts units, got {self.hidden}; 0 is a linear head")

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        width = read_width(reader, context)
        heads = nn.ModuleDict({name: scalar_head(width, self.hidden, context.seed) for name in ("value", "partial")})
        return LiveChunkCritic(self, reader, heads, context)


class LiveChunkCritic(StepCritic):
    """A chunk critic with weights."""

    def __init__(self, part: ChunkCritic, reader: Backbone | None, heads: nn.Module, context: CriticContext) -> None:
        super().__init__(part.steps, part.body, reader, heads, context)
        self.part = part

    def _values(self, states: Float[Tensor, "S D"], starts: Bool[Tensor, "S"]) -> Float[Tensor, "S"]:
        """V where a chunk starts, Q^P elsewhere."""
        assert isinstance(self.head, nn.ModuleDict)
        value, partial = (self.head[name](states).squeeze(-1) for name in ("value", "partial"))
        return torch.where(starts, value, partial)

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        nodes = self.nodes(batch)
        starts = step_starts(nodes, batch.sampled_mask)[batch.sampled_mask]
        mean = scatter_sampled(self._values(states, starts), batch.sampled_mask)
        after = self._values(ends, torch.ones(batch.rows, dtype=torch.bool, device=ends.device))
        return ValuePrediction(mean, batch.sampled_mask, after, nodes=nodes)

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        if not isinstance(targets, Scalar):
            raise TypeError(f"a chunk critic learns from scalar targets, not {type(targets).__name__}; set"
                            " target=chunk_backup or target=step_starts")  # fmt: skip
        starts = step_starts(self.nodes(batch), batch.sampled_mask)
        made = scatter_sampled(self._values(states, starts[batch.sampled_mask]), batch.sampled_mask)
        error = targets.values.to(made.dtype) - made
        back = quantile_error if self.part.backup == "quantile" else expectile_error
        loss = torch.where(starts, back(error, self.part.backup_level), expectile_error(error, self.part.distill_level))
        return (LossTerm("value", loss, targets.mask, 1.0, TokenMean()),)
