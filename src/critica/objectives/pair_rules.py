"""What a pair of siblings is charged: an order or a gap that was told, against the gap between their log-ratios."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.preferences import hinge_losses, logistic_losses, squared_losses


def refuse_strength(name: str, value: float) -> None:
    """Raise ValueError for a strength that is no positive number."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} is the reward that one nat of log-ratio is worth, above 0 and finite, got {value}")


class PairRule(ABC):
    """A stateless loss of each pair: from how much likelier i became than j [N N], and how much better it was told."""

    @abstractmethod
    def values(self, ratio_gap: Float[Tensor, "N N"], told_gap: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]: ...


@dataclass(frozen=True, slots=True)
class Logistic(PairRule):
    """-log sigmoid(beta h) (DPO, arXiv 2305.18290). `wrong_labels` > 0: labels wrong at that rate are expected (cDPO).

    Without wrong labels a pair is pulled apart forever, the less the further; with a rate e it rests at
    log((1 - e) / e) / beta nats.
    """

    beta: float = 0.1
    wrong_labels: float = 0.0

    def __post_init__(self) -> None:
        refuse_strength("beta", self.beta)
        if not 0 <= self.wrong_labels < 0.5:
            raise ValueError(
                f"wrong_labels is the rate at which pairs are told upside down, in [0, 0.5), got {self.wrong_labels};"
                " beyond a half, exchange the labels"
            )

    def values(self, ratio_gap: Float[Tensor, "N N"], told_gap: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
        return logistic_losses(ratio_gap, self.beta, torch.full_like(ratio_gap, 1 - self.wrong_labels))


@dataclass(frozen=True, slots=True)
class SquaredGap(PairRule):
    """(h - 1 / (2 beta))^2: an order alone is regressed (IPO, arXiv 2310.12036; INPO with beta = eta)."""

    beta: float = 0.1

    def __post_init__(self) -> None:
        refuse_strength("beta", self.beta)

    def values(self, ratio_gap: Float[Tensor, "N N"], told_gap: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
        return squared_losses(ratio_gap, 1 / (2 * self.beta))


@dataclass(frozen=True, slots=True)
class Hinge(PairRule):
    """max(0, 1 - beta h) (SLiC, arXiv 2305.10425): pairs that are 1 / beta nats apart are left alone."""

    beta: float = 0.1

    def __post_init__(self) -> None:
        refuse_strength("beta", self.beta)

    def values(self, ratio_gap: Float[Tensor, "N N"], told_gap: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
        return hinge_losses(ratio_gap, self.beta)


@dataclass(frozen=True, slots=True)
class SoftLogistic(PairRule):
    """Cross-entropy of sigmoid(eta h) against sigmoid(r_i - r_j): the gap of rewards is the label (DNO, 2404.03715).

    Its best h is (r_i - r_j) / eta, so that the policy becomes anchor exp(r / eta): one step of mirror descent.
    """

    eta: float = 0.1

    def __post_init__(self) -> None:
        refuse_strength("eta", self.eta)

    def values(self, ratio_gap: Float[Tensor, "N N"], told_gap: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
        return logistic_losses(ratio_gap, self.eta, torch.sigmoid(told_gap.to(ratio_gap.dtype)))
