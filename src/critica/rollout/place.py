"""The fixed order in which supervision becomes numbers on tokens.

Source, noise and correction lie behind (`gather`); here come the objectives' scales and their combination, length
shaping, placement on tokens, the critic's word about the sum (`denoise`: it learned to expect sums), and KL cost. No
other order can be written.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.divergences import k1
from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.supervision import Reward, Scale, Scored
from critica.rollout.combine import CombinationRule, Sum
from critica.rollout.denoise import Denoise, Expect, denoised
from critica.rollout.novelty import Novelty


@runtime_checkable
class Range(Protocol):
    """Something with a lowest and a highest value, such as a source of rewards."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


@runtime_checkable
class Scaled(Range, Protocol):
    """Something with several objectives, each with a range of its own."""

    @property
    def scales(self) -> tuple[Scale, ...]: ...


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
    """How what was said becomes numbers, and where they go.

    `denoise` lets the critic have a say; `combination` puts several objectives on scales that can be added.
    `reference_kl` > 0 charges coefficient * (behavior - reference) on each sampled token. `novelty` rewards right
    answers that are unlikely under the reference.
    """

    reference_kl: float = 0.0
    overlong: SoftOverlong = field(default_factory=SoftOverlong)
    combination: CombinationRule = Sum()
    denoise: Denoise = Denoise()
    novelty: Novelty = Novelty()

    def __post_init__(self) -> None:
        if self.reference_kl < 0:
            raise ValueError("placement.reference_kl cannot be negative")

    @property
    def as_said(self) -> bool:
        """Whether an answer's told outcome is the sum of what was said of it, whatever its siblings and its length."""
        plain = isinstance(self.combination, Sum) and set(self.combination.weights) <= {1.0}
        changed = self.denoise.weight or self.novelty.coefficient or self.overlong.limit_tokens
        return plain and not changed

    def without_models(self) -> "Placement":
        """The same, with the reference and the critic left out."""
        return replace(self, reference_kl=0.0, denoise=Denoise(), novelty=Novelty())

    @property
    def needs(self) -> frozenset[type]:
        """The reference, when distance from it is charged or rewarded."""
        return frozenset({ReferenceLogprobs}) if self.reference_kl or self.novelty.coefficient else frozenset()


def place(
    rewards: tuple[Reward, ...],
    batch: TokenBatch,
    evidence: Evidence,
    placement: Placement,
    declared: Range,
    expect: Expect | None = None,
    step: int = 0,
) -> RewardBatch:
    """One objective per source. An outcome lands on each row's last sampled token, but for its spans' shares.

    A span's share lands on the last sampled token inside of it, so that a row's tokens add up to its outcome. Unknown
    stays NaN, never 0. `declared` is the range within which the source's values lie; with several objectives it says
    the range of each, after combination. `expect` is the critic, for `placement.denoise`.
    """
    names = tuple(dict.fromkeys(reward.source for reward in rewards))
    column = {name: j for j, name in enumerate(names)}
    row = {name: n for n, name in enumerate(batch.trajectory_ids)}
    outcome = torch.full((batch.rows, len(names)), float("nan"))
    confidence = torch.zeros(batch.rows, len(names))
    spans = []
    for reward in rewards:
        if isinstance(reward.outcome, Scored):
            n, j = row[reward.trajectory_id], column[reward.source]
            outcome[n, j], confidence[n, j] = reward.outcome.value, reward.outcome.confidence
            spans += [(n, j, span) for span in reward.spans]
    outcome, confidence = outcome.to(batch.device), confidence.to(batch.device)
    known = ~outcome.isnan()
    last = last_sampled(batch)
    lows, highs = ranges(declared, names)
    floor = lows[0] - placement.overlong.penalty * bool(placement.overlong.limit_tokens)
    lows = (floor, *lows[1:])
    combined = placement.combination.apply(outcome, known, batch.group_index)
    outcome = combined.outcome
    if placement.novelty.coefficient:
        reference = evidence[ReferenceLogprobs].logprobs
        total, whole = outcome.sum(-1), known.all(-1)
        outcome[:, 0] += placement.novelty.bonus(total, whole, reference, batch.sampled_mask, batch.group_index)
    lengths = batch.sampled_mask.sum(-1)
    outcome[:, 0] += placement.overlong.cost(lengths.float())
    per_token = torch.zeros(*batch.token_ids.shape, len(names), device=batch.device)
    rest = outcome.nan_to_num(0.0) * known
    for n, j, span in spans:
        value = span.value * float(combined.stretch[n, j])
        per_token[n, last_inside(batch, n, span.start, span.end), j] += value
        rest[n, j] -= value
    rows = torch.arange(batch.rows, device=batch.device)
    per_token[rows, last] += rest
    share = placement.denoise.share(step)
    if share and expect is not None:
        said = RewardBatch(names, outcome.clone(), known, confidence, per_token.clone(), lows, highs)
        shrunk = denoised(said.total, batch, last, expect(said), share)
        change = torch.where(said.all_known, shrunk - said.total, 0.0)
        outcome[:, 0] += change
        per_token[rows, last, 0] += change
    if placement.reference_kl:
        cost = k1(batch.behavior_logprobs, evidence[ReferenceLogprobs].logprobs)
        per_token[..., 0] -= placement.reference_kl * cost * batch.sampled_mask
    return RewardBatch(names, outcome, known, confidence, per_token, lows, highs)


def ranges(declared: Range, names: tuple[str, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(lows, highs) of the objectives: each its own, or all the one that is declared."""
    scales = declared.scales if isinstance(declared, Scaled) else ()
    known = {scale.name: scale for scale in scales}
    if any(name not in known for name in names):
        return (declared.low,) * len(names), (declared.high,) * len(names)
    return tuple(known[name].low for name in names), tuple(known[name].high for name in names)


def last_inside(batch: TokenBatch, row: int, start: int, end: int) -> int:
    """The last sampled token of [start, end), or the last one before it: context is paid nothing."""
    written = batch.sampled_mask[row, :end].nonzero().squeeze(-1)
    return int(written[-1]) if written.numel() else int(last_sampled(batch)[row])


def last_sampled(batch: TokenBatch) -> Tensor:
    """The index of each row's last sampled token."""
    width = batch.sampled_mask.shape[1]
    return width - 1 - batch.sampled_mask.flip(1).int().argmax(1)
