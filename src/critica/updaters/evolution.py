"""Evolution strategies in place of gradients: how far the population is thrown, and what pulls the weights home."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from critica.functional.evolution import shrunk, soft_threshold


class Anchor(ABC):
    """A proximal pull toward the weights that the run began with, after each update; all weights count alike."""

    needs_start: bool = True

    @abstractmethod
    def pulled(self, offset: Tensor, rate: float) -> Tensor:
        """What is left of theta - theta_0."""


@dataclass(frozen=True, slots=True)
class NoAnchor(Anchor):
    """Nothing pulls, and the first weights are not kept."""

    needs_start = False

    def pulled(self, offset: Tensor, rate: float) -> Tensor:
        return offset


@dataclass(frozen=True, slots=True)
class L2Anchor(Anchor):
    """theta - theta_0 <- (1 - rate * strength)(theta - theta_0). Anchored weight decay (arXiv 2605.30148), l2.

    At learning_rate 5e-4 the paper's 10 takes half a percent of the way back at each step. Start high and lower it
    until the loss on the target task disappears; l2 degrades more smoothly than l1.
    """

    strength: float = 10.0

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ValueError(f"an anchor pulls home, so strength is at least 0; got {self.strength}")

    def pulled(self, offset: Tensor, rate: float) -> Tensor:
        return shrunk(offset, rate * self.strength)


@dataclass(frozen=True, slots=True)
class L1Anchor(Anchor):
    """theta - theta_0 <- soft_threshold(theta - theta_0, rate * strength). Anchored weight decay, l1.

    Weights that wander less than the threshold a step stay exactly where they were.
    """

    strength: float = 0.01

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ValueError(f"an anchor pulls home, so strength is at least 0; got {self.strength}")

    def pulled(self, offset: Tensor, rate: float) -> Tensor:
        return soft_threshold(offset, rate * self.strength)


@dataclass(frozen=True, slots=True)
class EvolutionStrategy:
    """theta += learning_rate / N * sum_n z_n eps_n, then the anchor's pull. No gradient is taken.

    Member n of the population writes sample n of every prompt of the step with the weights theta + sigma * eps_n,
    eps_n standard normal, so sampling.samples_per_prompt is N and sampling.prompts_per_step is what each member is
    judged by. z_n: the member's mean told outcome, standardized over the population (ddof=1, the released code has 0).
    E[update] = learning_rate * sigma / std(outcomes) * grad J_sigma, J_sigma the outcome expected under the noise: the
    sigma is absorbed. Members that nothing was told of leave the statistics.

    Noise is drawn anew from (run seed, step, member, name of the tensor) whenever it is needed, twice to write and
    once to learn, and never kept. Weights and noise are multiples of one power of two per tensor (2^-24 of its largest
    entry, in float32), which makes perturbing and restoring exact to the bit without a second copy of the weights; the
    initial weights are rounded to it once. Memory: the weights, the anchor's copy of the first ones if there is one,
    and three times the largest tensor; no gradient, no moments, no activations. Time: N calls of the decoder with
    prompts_per_step rows each in place of one with all rows, and 3 N draws of noise on the CPU.

    Use it where gradients are out of reach (memory, a policy that cannot be differentiated, outcomes of whole answers
    only). Not where they are at hand and weights are many: the random part of an update has norm
    learning_rate * sqrt(d / N). Drift away from all that the reward does not speak of grows like its square times the
    steps: hence the anchor.

    Source: evolution strategies at scale (arXiv 2509.24372 and code: sigma 1e-3, rate 5e-4, N 30, greedy decoding),
    anchored weight decay (arXiv 2605.30148). Seed replay in the code subtracts the noise again, which drifts by a
    rounding error each time; ours does not.
    """

    learning_rate: float = 5e-4
    sigma: float = 1e-3
    anchor: Anchor = NoAnchor()

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not self.sigma > 0:
            raise ValueError(
                f"an evolution strategy needs learning_rate and sigma above 0, got {self.learning_rate} and"
                f" {self.sigma}; the published ones are 5e-4 and 1e-3"
            )
