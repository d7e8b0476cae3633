"""The fixed order in which supervision becomes numbers on tokens: outcome, length shaping, KL cost, placement."""

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.divergences import k1
from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.supervision import Reward, Scored


@runtime_checkable
class Range(Protocol):
    """Something with a lowest and a highest value, such as a source of rewards."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


@dataclass(frozen=True, slots=True)
class SoftOverlong:
    """A linear penalty in the last `buffer_tokens` before `limit_tokens`, down to -`penalty` (DAPO, eq. 13).

    `limit_tokens` 0 switches it off.
    """

    limit_tokens: int = 0
    buffer_tokens: int = 1
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.limit_tokens and not 0 < self.buffer_tokens <= self.limit_tokens:
            raise ValueError("overlong.buffer_tokens must lie in 1..limit_tokens")

    def cost(self, lengths: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
        """The penalty of each answer, at most 0."""
        if not self.limit_tokens:
            return torch.zeros_like(lengths)
        over = (lengths - (self.limit_tokens - self.buffer_tokens)) / self.buffer_tokens
        return -self.penalty * over.clamp(0, 1)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the numbers go. `reference_kl` > 0 charges coefficient * (behavior - reference) on each sampled token."""

    reference_kl: float = 0.0
    overlong: SoftOverlong = field(default_factory=SoftOverlong)

    def __post_init__(self) -> None:
        if self.reference_kl < 0:
            raise ValueError("placement.reference_kl cannot be negative")

    def without_reference(self) -> "Placement":
        """The same, with nothing charged for distance from the reference."""
        return replace(self, reference_kl=0.0)

    @property
    def needs(self) -> frozenset[type]:
        """The reference, when distance from it is charged."""
        return frozenset({ReferenceLogprobs}) if self.reference_kl else frozenset()


def place(
    rewards: tuple[Reward, ...],
    batch: TokenBatch,
    evidence: Evidence,
    placement: Placement,
    declared: Range,
) -> RewardBatch:
    """One objective per source; the outcome lands on each row's last sampled token. Unknown stays NaN, never 0.

    `declared` is the range within which the source's values lie.
    """
    names = tuple(dict.fromkeys(reward.source for reward in rewards))
    column = {name: j for j, name in enumerate(names)}
    row = {name: n for n, name in enumerate(batch.trajectory_ids)}
    outcome = torch.full((batch.rows, len(names)), float("nan"))
    confidence = torch.zeros(batch.rows, len(names))
    for reward in rewards:
        if isinstance(reward.outcome, Scored):
            n, j = row[reward.trajectory_id], column[reward.source]
            outcome[n, j], confidence[n, j] = reward.outcome.value, reward.outcome.confidence
    known = ~outcome.isnan()
    lengths = batch.sampled_mask.sum(-1)
    outcome[:, 0] += placement.overlong.cost(lengths.float())
    per_token = torch.zeros(*batch.token_ids.shape, len(names))
    last = last_sampled(batch)
    per_token[torch.arange(batch.rows), last] = outcome.nan_to_num(0.0) * known
    if placement.reference_kl:
        cost = k1(batch.behavior_logprobs, evidence[ReferenceLogprobs].logprobs)
        per_token[..., 0] -= placement.reference_kl * cost * batch.sampled_mask
    floor = declared.low - placement.overlong.penalty * bool(placement.overlong.limit_tokens)
    lows, highs = (floor,) * len(names), (declared.high,) * len(names)
    return RewardBatch(names, outcome, known, confidence, per_token, lows, highs)


def last_sampled(batch: TokenBatch) -> Tensor:
    """The index of each row's last sampled token."""
    width = batch.sampled_mask.shape[1]
    return width - 1 - batch.sampled_mask.flip(1).int().argmax(1)
