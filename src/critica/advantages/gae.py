"""Generalized advantage estimation with a decay of its own: fixed, or adapted to each answer's length (VAPO)."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from critica.advantages.base import AdvantageRule
from critica.advantages.laws import predicts
from critica.advantages.risk import Mean, Risk, refuse_riskless
from critica.functional.gae import gae, length_adaptive_decay
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
    At discount = decay = 1 it reduces to `Outcome` minus the value at each token. `risk` says how the critic's law
    becomes V: its mean, as published, or a reading that shuns or seeks uncertain states.
    """

    discount: float = 1.0
    decay: float | LengthAdaptive = 0.95
    risk: Risk = Mean()

    def __post_init__(self) -> None:
        check_discount(self.discount, self.decay)

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        mask = values.mask & batch.sampled_mask & told.all_known[:, None]
        bootstrap = self.risk.after(values).where(~told.all_known, 0.0)
        advantage = gae(
            told.paid, self.risk.before(values), bootstrap, values.node_index(batch), mask,
            self.discount, resolve_decay(self.decay, batch),
        )  # fmt: skip
        return Advantages(advantage.where(mask, 0.0), mask, told.all_known & False, rule="gae")

    def check(self, critic: CriticTraits) -> None:
        """Refuse a baseline flat along the answer (its differences carry no credit), and a risk without a law."""
        if critic.flat:
            raise ValueError(
                "advantage.use = 'gae' needs a critic with a value at every token, and this one has one an answer;"
                " set advantage=outcome, or critic=scalar or critic=quantile"
            )
        refuse_riskless(self.risk, self.decay, critic, "advantage")


@dataclass(frozen=True, slots=True)
class QuantileGae(AdvantageRule):
    """GAE run on each quantile index, A_t[k], then sum_k w_k A_t[k] (DVPO, arXiv 2512.03847, eq. 2, with w_k = 1 / K).

    Because the recursion is linear in each index and the weights sum to one, this equals `Gae` on sum_k w_k Q[k]
    exactly. So the paper's actor never sees the distribution, and what DVPO adds to it is how its critic is trained;
    with a `risk` (a tail's mean, a distortion) the weights differ by k and it does see it.
    """

    discount: float = 1.0
    decay: float | LengthAdaptive = 0.95
    risk: Risk = Mean()

    def __post_init__(self) -> None:
        check_discount(self.discount, self.decay)

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        if not isinstance(values.law, Quantiles):
            raise TypeError(f"QuantileGae needs a quantile critic; this one predicts {type(values.law).__name__}")
        plain = Gae(self.discount, self.decay, self.risk)
        return replace(plain.estimate(batch, told, values, evidence), rule="quantile_gae")

    def check(self, critic: CriticTraits) -> None:
        """Refuse a critic without quantiles."""
        if not critic.distributional or not predicts(critic, Quantiles):
            raise ValueError(
                "advantage.use = 'quantile_gae' needs a critic that predicts quantiles;"
                " set critic=quantile, or advantage=gae"
            )
        refuse_riskless(self.risk, self.decay, critic, "advantage")
