"""What a prediction should have been: Monte-Carlo returns, lambda-returns, and their laws."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.advantages.laws import law_quantiles, predicts
from critica.advantages.risk import Mean, Risk, refuse_riskless
from critica.functional.gae import gae, quantile_gae
from critica.functional.mixture import lambda_mixture_categorical, lambda_mixture_samples
from critica.functional.returns import discounted_returns
from critica.functional.sibling_laws import sibling_quantiles
from critica.records.arrays import (
    Categorical,
    Quantiles,
    RewardBatch,
    Samples,
    Scalar,
    TokenBatch,
    ValuePrediction,
    ValueTargets,
)
from critica.records.protocols import CriticTraits


class TargetRule(ABC):
    """A stateless rule from rewards and predictions to targets, detached."""

    @abstractmethod
    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets: ...

    def check(self, critic: CriticTraits) -> None:
        """Raise ValueError, with the way out, if these targets cannot train this critic."""
        if critic.needs_distributional_targets and not self.distributional:
            raise ValueError(
                "DVPO's tail terms against a point target pull both tails to one number; set target=quantile_lambda or"
                " target=lambda_mixture, or switch them off (critic.tail.calibration=0, gain, shift, shape likewise)"
            )
        if self.distributional and not critic.distributional:
            raise ValueError("these targets are laws and this critic predicts a mean; set target=lambda_return")

    @property
    def distributional(self) -> bool:
        """Whether the targets are samples of a law."""
        return False


class LawTarget(TargetRule):
    """A rule whose targets are samples of a law."""

    @property
    def distributional(self) -> bool:
        return True


def check_trace(discount: float, decay: float) -> None:
    """Raise unless both lie in [0, 1]."""
    if not (0 <= discount <= 1 and 0 <= decay <= 1):
        raise ValueError(f"discount and decay must lie in [0, 1], got {discount} and {decay}")


@dataclass(frozen=True, slots=True)
class MonteCarlo(TargetRule):
    """target_t = sum_{s >= t} discount^(s-t) r_s: unbiased, whatever the critic says (VC-PPO's critic, decay 1)."""

    discount: float = 1.0

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        mask = batch.sampled_mask & told.all_known[:, None]
        ends = values.bootstrap * 0
        returns = discounted_returns(told.paid, mask, self.discount, ends)
        return Scalar(returns.where(mask, 0.0), mask)


@dataclass(frozen=True, slots=True)
class LambdaReturn(TargetRule):
    """target_t = V_t + A_t(discount, decay): the lambda-return; decay 1 is `MonteCarlo`, decay 0 is r + discount V'.

    `risk` says how the critic's law becomes the V that is bootstrapped from; the outcome itself is never bent.
    `WorstHead` at decay 0 is the robust Bellman target r + discount min_n V_n(s') (the baseline of DVPO, arXiv
    2512.03847, whose formula is our reading of its words), `Cvar(1 / K)` the same over the lowest quantile, and
    `MinusSpread(beta)` STAC's r + discount (mu' - beta sigma') (arXiv 2601.00737, likewise).
    """

    discount: float = 1.0
    decay: float = 0.95
    risk: Risk = Mean()

    def __post_init__(self) -> None:
        check_trace(self.discount, self.decay)

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        mask = batch.sampled_mask & told.all_known[:, None]
        expected = self.risk.before(values)
        advantage = gae(
            told.paid, expected, values.bootstrap * 0, values.node_index(batch), mask, self.discount, self.decay
        )
        return Scalar((advantage + expected).where(mask, 0.0), mask)

    def check(self, critic: CriticTraits) -> None:
        TargetRule.check(self, critic)
        refuse_riskless(self.risk, self.decay, critic, "target")


@dataclass(frozen=True, slots=True)
class QuantileLambda(LawTarget):
    """Y_t[k] = Q_t[k] + A_t[k], GAE on each quantile index (DVPO, arXiv 2512.03847, eq. 2).

    Y_t[k] = sum_j (1-decay) decay^(j-1) Q_{t+j}[k] + decay^(T-t) R: an average of quantile functions (a comonotone
    coupling), not the mixture of laws; `LambdaMixture` is the mixture. At decay 1 every quantile is R itself.
    """

    discount: float = 1.0
    decay: float = 0.95

    def __post_init__(self) -> None:
        check_trace(self.discount, self.decay)

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        if not isinstance(values.law, Quantiles):
            raise TypeError(f"these targets need a quantile critic; this one predicts {type(values.law).__name__}")
        ensemble = values.law.values.mean(2)
        mask = batch.sampled_mask & told.all_known[:, None]
        ends = ensemble.new_zeros(ensemble.shape[0], ensemble.shape[-1])
        rewards = told.paid
        advantage = quantile_gae(rewards, ensemble, ends, values.node_index(batch), mask, self.discount, self.decay)
        samples = (advantage + ensemble).where(mask[..., None], 0.0)
        return even_samples(samples, mask)

    def check(self, critic: CriticTraits) -> None:
        LawTarget.check(self, critic)
        if not predicts(critic, Quantiles):
            raise ValueError(
                "target=quantile_lambda adds quantile to quantile, and this critic predicts none; set critic=quantile,"
                " or target=lambda_mixture"
            )


@dataclass(frozen=True, slots=True)
class LambdaMixture(LawTarget):
    """The law of the lambda-return as a mixture over horizons: P(k) = (1-decay) decay^(k-1), the rest ends at R.

    Drawn as `samples` stratified samples (0: one per quantile of the critic, 64 for a critic without quantiles):
    sample s takes the horizon at level (s + 1/2) / S of the horizon's law and a quantile from a fixed permutation. At
    decay 1 every sample is the Monte-Carlo return, and for any decay the mean over exact enumeration equals the
    lambda-return. Reads quantiles, atoms or a Gaussian; `CategoricalLambda` is exact for atoms.
    """

    discount: float = 1.0
    decay: float = 0.95
    samples: int = 0

    def __post_init__(self) -> None:
        check_trace(self.discount, self.decay)
        if self.samples < 0:
            raise ValueError(f"samples cannot be negative, got {self.samples}; 0 takes the critic's quantiles")

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        mask = batch.sampled_mask & told.all_known[:, None]
        quantiles = law_quantiles(values.law, values.mean, law_size(values))
        samples = lambda_mixture_samples(
            told.paid, quantiles, mask, self.discount, self.decay, self.samples or quantiles.shape[-1]
        )
        return even_samples(samples, mask)


@dataclass(frozen=True, slots=True)
class CategoricalLambda(LawTarget):
    """The law of the lambda-return on a categorical critic's own atoms, by exact recursion instead of samples.

    decay 0 is C51's target, decay 1 the coded outcome. See `lambda_mixture_categorical`.
    """

    discount: float = 1.0
    decay: float = 0.95

    def __post_init__(self) -> None:
        check_trace(self.discount, self.decay)

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        if not isinstance(values.law, Categorical):
            raise TypeError(f"CategoricalLambda needs a categorical critic, not {type(values.law).__name__}")
        mask = batch.sampled_mask & told.all_known[:, None]
        atoms, probs = values.law.atoms.to(values.mean), values.law.probs.mean(2)
        law = lambda_mixture_categorical(told.paid, probs, atoms, mask, self.discount, self.decay)
        return Samples(atoms.expand_as(law).where(mask[..., None], 0.0), law, mask)

    def check(self, critic: CriticTraits) -> None:
        LawTarget.check(self, critic)
        if not predicts(critic, Categorical):
            raise ValueError(
                "target=categorical_lambda works on a critic's atoms, and this critic has none;"
                " set critic=categorical, or target=lambda_mixture"
            )


@dataclass(frozen=True, slots=True)
class GroupQuantiles(LawTarget):
    """Midpoint quantiles of what the known samples of the prompt were told, the same at every token of a row.

    A law from outcomes alone, without bootstrapping, so DVPO's tail terms have something to compare with from the
    first step (value-critics note, 1.6.3). It is the law of the *prompt*: a critic trained on it alone learns V of the
    prompt and says nothing of the prefix. `leave_one_out` (default) keeps a row's own outcome out of its target, and a
    row without known siblings then has none. `samples` 0: one per quantile of the critic. Undiscounted outcomes.
    """

    leave_one_out: bool = True
    samples: int = 0

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise ValueError(f"samples cannot be negative, got {self.samples}; 0 takes the critic's quantiles")

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        quantiles, defined = sibling_quantiles(
            told.paid.sum(-1), told.all_known, batch.group_index,
            self.samples or law_size(values), self.leave_one_out,
        )  # fmt: skip
        mask = batch.sampled_mask & defined[:, None]
        samples = quantiles[:, None].expand(*mask.shape, quantiles.shape[-1]).where(mask[..., None], 0.0)
        return even_samples(samples, mask)


def law_size(values: ValuePrediction) -> int:
    """How many samples stand for the law if nobody says: as many as the critic has quantiles, else 64."""
    return values.law.levels.shape[0] if isinstance(values.law, Quantiles) else 64


def even_samples(samples: Float[Tensor, "N T S"], mask: Bool[Tensor, "N T"]) -> Samples:
    """Samples of equal weight."""
    return Samples(samples, torch.full_like(samples, 1 / samples.shape[-1]), mask)
