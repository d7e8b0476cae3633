"""Attitudes to risk: how a predicted law becomes the one value that credit or a target is worked out from.

The published quantile critics show their actor the mean alone. Put one of these into `Gae`, `QuantileGae` or
`LambdaReturn`, and an uncertain state counts for less (or more) than its mean. It acts through bootstrapping: at
decay 1 credit is R - rho(law), and only the baseline has moved.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from critica.advantages.laws import DeclaresLaw, head_means, law_spread
from critica.functional import risk as formulas
from critica.functional.risk import distorted_categorical, distorted_normal, distorted_quantiles
from critica.records.arrays import Bernoulli, Categorical, Gaussian, Law, Point, Quantiles, ValuePrediction
from critica.records.protocols import CriticTraits


class Risk(ABC):
    """A stateless reading of a law as a number."""

    neutral: ClassVar[bool] = False  # whether it is the mean

    @abstractmethod
    def read(self, law: Law, mean: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        """The law's worth at each token, in units of return."""

    def before(self, values: ValuePrediction) -> Float[Tensor, "N T"]:
        """What was expected before each token, in this reading; zero where the critic says nothing."""
        return self.read(values.law, values.mean).where(values.mask, 0.0)

    def after(self, values: ValuePrediction) -> Float[Tensor, "N"]:
        """What was expected after the last token, in this reading."""
        return self.read(values.bootstrap_law, values.bootstrap[:, None])[:, 0]


@dataclass(frozen=True, slots=True)
class Mean(Risk):
    """E[Z]: no attitude. What every published system here uses."""

    neutral: ClassVar[bool] = True

    def read(self, law: Law, mean: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        return mean


class Distorted(Risk):
    """A distortion risk measure: see `functional/risk.py`. Needs quantiles, atoms, a Gaussian or a coin."""

    @property
    @abstractmethod
    def distortion(self) -> formulas.Distortion:
        """H, the weight given to all levels up to u."""

    def read(self, law: Law, mean: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        match law:
            case Quantiles(levels=levels, values=values):
                return distorted_quantiles(levels, values.mean(2).sort(-1).values, self.distortion)
            case Categorical(atoms=atoms, probs=probs):
                return distorted_categorical(atoms, probs.mean(2), self.distortion)
            case Gaussian(spread=spread):
                return mean + distorted_normal(self.distortion) * spread
            case Bernoulli():
                return 1 - self.distortion((1 - mean.double()).clamp(0, 1)).to(mean)
            case Point():
                return mean


@dataclass(frozen=True, slots=True)
class Cvar(Distorted):
    """The mean of the worst `alpha` of the law (conditional value at risk); 1: the mean, 1 / K: the lowest quantile."""

    alpha: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is the share of worst outcomes, in (0, 1], got {self.alpha}; 1 is the mean")

    @property
    def distortion(self) -> formulas.Distortion:
        return partial(formulas.cvar_distortion, alpha=self.alpha)


@dataclass(frozen=True, slots=True)
class Wang(Distorted):
    """Wang's transform: levels shifted by `eta` standard deviations; below 0 averse, above 0 seeking."""

    eta: float = -0.75

    @property
    def distortion(self) -> formulas.Distortion:
        return partial(formulas.wang_distortion, eta=self.eta)


@dataclass(frozen=True, slots=True)
class Power(Distorted):
    """Power distortion: at `eta` = -n the expected worst of n + 1 draws; above 0 seeking."""

    eta: float = -2.0

    @property
    def distortion(self) -> formulas.Distortion:
        return partial(formulas.power_distortion, eta=self.eta)


@dataclass(frozen=True, slots=True)
class Cumulative(Distorted):
    """Cumulative prospect weighting: extremes of either side count for more than their probability."""

    exponent: float = 0.71

    def __post_init__(self) -> None:
        if not 0.3 <= self.exponent <= 1:
            raise ValueError(f"exponent must lie in [0.3, 1] (below it the weighting falls), got {self.exponent}")

    @property
    def distortion(self) -> formulas.Distortion:
        return partial(formulas.cumulative_distortion, exponent=self.exponent)


@dataclass(frozen=True, slots=True)
class MinusSpread(Risk):
    """mean - beta * standard deviation (STAC's pessimism, arXiv 2601.00737); beta below 0 is optimism.

    On 0/1 outcomes the spread is sqrt(p (1 - p)), a function of the mean: it then says nothing that the mean does not.
    """

    beta: float = 0.5

    def read(self, law: Law, mean: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        return mean - self.beta * law_spread(law, mean)


@dataclass(frozen=True, slots=True)
class WorstHead(Risk):
    """The lowest mean among a critic's heads or an ensemble's members (robust Bellman); one head is the mean."""

    def read(self, law: Law, mean: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        return head_means(law, mean).amin(-1)


def refuse_riskless(risk: Risk, decay: object, critic: CriticTraits, who: str) -> None:
    """Raise ValueError, with the way out, where an attitude to risk has no law to read or nothing to act through."""
    if risk.neutral:
        return
    if not (critic.distributional or (isinstance(critic, DeclaresLaw) and critic.law is not Point)):
        raise ValueError(
            f"{who}.risk={type(risk).__name__} reads a law, and this critic predicts a mean alone; set critic=quantile,"
            f" critic=categorical, critic=gaussian or critic=ensemble, or {who}.risk=mean"
        )
    if decay == 1.0:
        raise ValueError(
            f"{who}.risk={type(risk).__name__} acts through bootstrapping, and at decay 1 nothing is bootstrapped;"
            f" set {who}.decay=0.95, or {who}.risk=mean"
        )
