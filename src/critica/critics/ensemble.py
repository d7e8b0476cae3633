"""An ensemble of critics: members that saw different shares of the data, and how far they disagree."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.combine import Around, Learning, refuse_clip, require_trainable
from critica.critics.scalar import ScalarCritic
from critica.functional.gaussian import pooled_gaussian
from critica.functional.random import stream_key, uniforms
from critica.records.arrays import (
    Categorical,
    Gaussian,
    Law,
    Point,
    Quantiles,
    RewardBatch,
    TokenBatch,
    ValuePrediction,
)
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm


@dataclass(frozen=True, slots=True)
class Ensemble(Around):
    """V(s) = mean of `members` critics; their law is the members' laws side by side, so disagreement can be read off.

    Members are built from seeds of their own, and each learns from a trajectory with probability `share` (drawn by
    seed, member and trajectory; the loss is divided by `share`): the bootstrap of Osband et al. 2016 (arXiv
    1602.04621), without which critics that start at zero on a copied body would be one critic M times. Members that
    predict a number make a law of M medians, Gaussians a pooled Gaussian, quantiles and atoms M heads.

    Use it for disagreement as a warning, and with `target.risk=worst_head` for robust targets. Not for a better mean
    alone. It costs M bodies and M updates (with `body=shared` only M heads). One member at share 1 is that critic.
    """

    critic: CriticPart = field(default_factory=ScalarCritic)
    members: int = 3
    share: float = 0.8

    def __post_init__(self) -> None:
        if self.members < 1 or not 0 < self.share <= 1:
            raise ValueError(f"an ensemble needs a member and a share in (0, 1], got {self.members} and {self.share}")
        if self.critic.group_based:
            raise ValueError("members of an ensemble must learn, and a group's mean is the same each time")
        refuse_clip(self.critic, "an ensemble")

    @property
    def law(self) -> type[Law]:
        """The members' law; points become the quantiles of M heads."""
        return Quantiles if self.inner_law is Point else self.inner_law

    def build(self, context: CriticContext) -> ValueCritic:
        members = []
        for number in range(self.members):
            seed = stream_key(context.seed, "critic/member", number) % 2**63
            made = self.critic.build(replace(context, seed=seed))
            require_trainable(made, "an ensemble")
            members.append((f"member_{number}", made))
        return LiveEnsemble(tuple(members), self.share, context.seed)


class LiveEnsemble(Learning):
    """Live members."""

    def __init__(self, members: tuple[tuple[str, ValueCritic], ...], share: float, seed: int) -> None:
        super().__init__(members)
        self.share, self.seed = share, seed

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        found = [part.predict(batch, told, evidence) for _, part in self.parts()]
        means = torch.stack([one.mean for one in found], -1)
        ends = torch.stack([one.bootstrap for one in found], -1)
        return replace(
            found[0],
            mean=means.mean(-1),
            bootstrap=ends.mean(-1),
            law=joined([one.law for one in found], means),
            bootstrap_law=joined([one.bootstrap_law for one in found], ends[:, None]),
        )

    def taught(self, number: int, terms: tuple[LossTerm, ...], batch: TokenBatch) -> tuple[LossTerm, ...]:
        """The loss on this member's own share of the trajectories, worth as much as the whole."""
        if self.share == 1:
            return terms
        drawn = [uniforms(self.seed, "critic/share", number, name, count=1)[0] for name in batch.trajectory_ids]
        mine = torch.tensor([bool(one < self.share) for one in drawn], device=batch.sampled_mask.device)
        return tuple(
            replace(term, mask=term.mask & mine[:, None], weight=term.weight / self.share) for term in terms
        )


def joined(laws: Sequence[Law], means: Tensor) -> Law:
    """The members' laws as one: more heads, a pooled Gaussian, or one median for each member. means: [N T M]."""
    first = laws[0]
    if isinstance(first, Quantiles):
        return Quantiles(first.levels, torch.cat([law.values for law in laws if isinstance(law, Quantiles)], 2))
    if isinstance(first, Categorical):
        return Categorical(first.atoms, torch.cat([law.probs for law in laws if isinstance(law, Categorical)], 2))
    if isinstance(first, Gaussian):
        spreads = torch.stack([law.spread for law in laws if isinstance(law, Gaussian)], -1)
        return Gaussian(pooled_gaussian(means, spreads)[1])
    return Quantiles(means.new_full((1,), 0.5), means[..., None])
