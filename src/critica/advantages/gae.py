"""Generalized advantage estimation with a decay of its own: fixed, or adapted to each answer's length (VAPO)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from critica.advantages.base import AdvantageRule
from critica.functional.gae import gae, length_adaptive_decay, quantile_gae
from critica.records.arrays import Advantages, Quantiles, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence
from critica.records.protocols import CriticTraits


@dataclass(frozen=True, slots=True)
class LengthAdaptive:
    """decay = 1 - 1 / (alpha * length), clamped to [0, 1]; length counts sampled tokens (VAPO, arXiv 2504.05118)."""

    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha}")


def resolve_decay(decay: float | LengthAdaptive, batch: TokenBatch) -> float | Float[Tensor, "N"]:
    """The trace decay of each row."""
    if isinstance(decay, LengthAdaptive):
        return length_adaptive_decay(batch.sampled_mask.sum(-1), decay.alpha).to(batch.behavior_logprobs.dtype)
    return decay


def check_discount(discount: float, decay: float | LengthAdaptive) -> None:
    """Raise unless both lie in [0, 1]."""
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    if not isinstance(decay, LengthAdaptive) and not 0 <= decay <= 1:
        raise ValueError(f"decay must lie in [0, 1], got {decay}")


@dataclass(frozen=True, slots=True)
class Gae(AdvantageRule):
    """A_t = sum_k (discount * decay)^k (r_{t+k} + discount V_{t+k+1} - V_{t+k}) over the sampled tokens.

    Source: Schulman et al. 2016 (arXiv 1506.02438) eq. 16. Context tokens neither receive nor pass credit.
    At discount = decay = 1 it reduces to `Outcome` minus the value at each token.
    """

    discount: float = 1.0
    decay: float | LengthAdaptive = 0.95

    def __post_init__(self) -> None:
        check_discount(self.discount, self.decay)

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        mask = values.mask & batch.sampled_mask & told.all_known[:, None]
        bootstrap = values.bootstrap.where(~told.all_known, values.bootstrap.new_zeros(()))
        advantage = gae(
            told.paid, values.mean, bootstrap, values.node_index(batch), mask,
            self.discount, resolve_decay(self.decay, batch),
        )  # fmt: skip
        return Advantages(advantage.where(mask, 0.0), mask, told.all_known & False, rule="gae")

    def check(self, critic: CriticTraits) -> None:
        """Refuse a baseline that is flat along the answer: its differences carry no credit."""
        if critic.group_based:
            raise ValueError(
                "advantage.use = 'gae' needs a critic with a value at every token, and this one compares whole answers;"
                " set advantage=outcome, or critic=scalar or critic=quantile"
            )


@dataclass(frozen=True, slots=True)
class QuantileGae(AdvantageRule):
    """GAE run on each quantile index, then averaged over quantiles (DVPO, arXiv 2512.03847, eq. 2).

    Because the recursion is linear in each index, the mean over quantiles equals `Gae` on the critic's mean exactly:
    the paper's actor never sees the distribution, and what DVPO adds to the actor is how its critic is trained.
    """

    discount: float = 1.0
    decay: float | LengthAdaptive = 0.95

    def __post_init__(self) -> None:
        check_discount(self.discount, self.decay)

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        if not isinstance(values.law, Quantiles):
            raise TypeError(f"QuantileGae needs a quantile critic; this one predicts {type(values.law).__name__}")
        mask = values.mask & batch.sampled_mask & told.all_known[:, None]
        ensemble = values.law.values.mean(2)
        ends = values.bootstrap[:, None].expand(-1, ensemble.shape[-1])
        ends = ends.where(~told.all_known[:, None], 0.0)
        advantage = quantile_gae(
            told.paid, ensemble, ends, values.node_index(batch), mask,
            self.discount, resolve_decay(self.decay, batch),
        ).mean(-1)  # fmt: skip
        return Advantages(advantage.where(mask, 0.0), mask, told.all_known & False, rule="quantile_gae")

    def check(self, critic: CriticTraits) -> None:
        """Refuse a critic without quantiles."""
        if not critic.distributional:
            raise ValueError(
                "advantage.use = 'quantile_gae' needs a critic that predicts quantiles;"
                " set critic=quantile, or advantage=gae"
            )
