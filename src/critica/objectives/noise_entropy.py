"""As much entropy as the noise of the reward asks for: the temperature at which the policy cannot fall off a cliff."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from critica.functional.soft_policy import temperature_for_noise
from critica.objectives.base import Penalty, TokenScores
from critica.records.evidence import Evidence, SaidError


@dataclass(frozen=True, slots=True)
class NoiseEntropy(Penalty):
    """-tau * entropy at each sampled position, tau = 2 noise / allowed_log_ratio.

    `noise` is how far what is told may be from the truth for an answer on average, in units of the reward: for a
    verdict between 0 and 1 that is wrong with probability rho, rho (`noise_of_rates`; `critica reward audit` measures
    it). `allowed_log_ratio` is how much, in nats, such an error may move the log-probability of anything.

    Where several answers are equally right, the best policy is no continuous function of the reward: the least error
    flips the argmax. With entropy it is, pi proportional to exp(r / tau), and moves by at most 2 noise / tau. The
    price is randomness: an answer that is worse by d keeps exp(-d / tau) of the odds, so noise above a few hundredths
    with a small `allowed_log_ratio` asks for more entropy than the task forgives.

    Exact where an answer is one decision. Over several tokens the bonus counts the entropy at each token but not what
    a token does to the entropy of those after it; placement.reference_kl = tau charges whole answers, and gives the
    same bound around the reference. Noise that is independent from answer to answer averages out over samples and
    needs no bonus: this is for errors that stay. With advantages divided by a spread tau would be in units of that
    spread: refused.

    With `source` audited the noise of each step is what the correction reckons from its audits of earlier steps (the
    larger of the two error rates), at most `noise`: that cap keeps a broken source from turning the policy into dice.

    Source: The Policy Cliff (arXiv 2507.20150) says when entropy is needed; the temperature follows from its bound.
    """

    noise: float = 0.05
    allowed_log_ratio: float = 1.0
    source: Literal["stated", "audited"] = "stated"

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise ValueError(f"noise is a distance between rewards, at least 0, got {self.noise}")
        if not self.allowed_log_ratio > 0:
            raise ValueError(f"allowed_log_ratio is in nats, above 0, got {self.allowed_log_ratio}")

    @property
    def name(self) -> str:
        return "entropy"

    @property
    def weight(self) -> float:
        """tau, as the weight of a term to be minimized; where audits set the noise, tau for a noise of 1."""
        noise = self.noise if self.source == "stated" else 1.0
        return temperature_for_noise(noise, self.allowed_log_ratio)

    @property
    def needs(self) -> frozenset[type]:
        return frozenset() if self.source == "stated" else frozenset({SaidError})

    @property
    def needs_entropy_gradient(self) -> bool:
        return True

    def values(self, scores: TokenScores, evidence: Evidence) -> Float[Tensor, "N T"]:
        if self.source == "stated":
            return -scores.entropies
        return -scores.entropies * min(evidence[SaidError].error, self.noise)
