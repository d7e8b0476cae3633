"""What a prediction should have been: Monte-Carlo returns, lambda-returns, and their laws."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.gae import gae, quantile_gae
from critica.functional.mixture import lambda_mixture_samples
from critica.functional.returns import discounted_returns
from critica.records.arrays import Quantiles, RewardBatch, Samples, Scalar, TokenBatch, ValuePrediction, ValueTargets
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
    """target_t = V_t + A_t(discount, decay): the lambda-return; decay 1 is `MonteCarlo`."""

    discount: float = 1.0
    decay: float = 0.95

    def __post_init__(self) -> None:
        check_trace(self.discount, self.decay)

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        mask = batch.sampled_mask & told.all_known[:, None]
        advantage = gae(told.paid, values.mean, values.bootstrap * 0, values.node_index(batch), mask, self.discount, self.decay)
        return Scalar((advantage + values.mean).where(mask, 0.0), mask)


@dataclass(frozen=True, slots=True)
class QuantileLambda(TargetRule):
    """Y_t[k] = Q_t[k] + A_t[k], GAE on each quantile index (DVPO, arXiv 2512.03847, eq. 2).

    Y_t[k] = sum_j (1-decay) decay^(j-1) Q_{t+j}[k] + decay^(T-t) R: an average of quantile functions (a comonotone
    coupling), not the mixture of laws; `LambdaMixture` is the mixture. At decay 1 every quantile is R itself.
    """

    discount: float = 1.0
    decay: float = 0.95

    def __post_init__(self) -> None:
        check_trace(self.discount, self.decay)

    @property
    def distributional(self) -> bool:
        return True

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        ensemble = ensemble_quantiles(values)
        mask = batch.sampled_mask & told.all_known[:, None]
        ends = ensemble.new_zeros(ensemble.shape[0], ensemble.shape[-1])
        rewards = told.paid
        advantage = quantile_gae(rewards, ensemble, ends, values.node_index(batch), mask, self.discount, self.decay)
        samples = (advantage + ensemble).where(mask[..., None], 0.0)
        return Samples(samples, torch.full_like(samples, 1 / samples.shape[-1]), mask)


@dataclass(frozen=True, slots=True)
class LambdaMixture(TargetRule):
    """The law of the lambda-return as a mixture over horizons: P(k) = (1-decay) decay^(k-1), the rest ends at R.

    Drawn as K stratified samples, one per quantile of the critic: sample s takes the horizon at level (s + 1/2) / K of
    the horizon's law and a quantile index from a fixed permutation. Undiscounted or discounted; at decay 1 every
    sample is the Monte-Carlo return, and for any decay the mean over exact enumeration equals the lambda-return.
    """

    discount: float = 1.0
    decay: float = 0.95

    def __post_init__(self) -> None:
        check_trace(self.discount, self.decay)

    @property
    def distributional(self) -> bool:
        return True

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        ensemble = ensemble_quantiles(values)
        mask = batch.sampled_mask & told.all_known[:, None]
        samples = lambda_mixture_samples(
            told.paid, ensemble, mask, self.discount, self.decay, samples=ensemble.shape[-1]
        )
        return Samples(samples, torch.full_like(samples, 1 / samples.shape[-1]), mask)


def ensemble_quantiles(values: ValuePrediction) -> Float[Tensor, "N T K"]:
    """The mean over heads of the predicted quantile functions."""
    if not isinstance(values.law, Quantiles):
        raise TypeError(f"these targets need a quantile critic; this one predicts {type(values.law).__name__}")
    return values.law.values.mean(2)
