"""An information bottleneck between a critic's body and its head: what does not help to predict returns is not kept."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from critica.critics.base import CriticContext
from critica.functional.bottleneck import gaussian_kl, noisy_code
from critica.functional.random import generator, torch_generator
from critica.records.arrays import TokenBatch, scatter_sampled
from critica.records.losses import LossTerm, TokenMean

LOGVAR_RANGE = (-10.0, 4.0)


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """z ~ N(mu(h), exp(s(h))) with mu, s linear; the head reads z in training and mu(h) in prediction.

    Adds `weight` * KL(N(mu, exp(s)) || N(0, 1)) per token (VRPO, arXiv 2508.03058: maximize I(Z; return), minimize
    I(X; Z)). Use it where rewards are wrong at random and the critic's body is large enough to learn the errors by
    heart; not where the value needs many directions of the state, and watch `loss/bottleneck_kl`: near 0 the critic
    says one constant. At weight 0 with s far below 0 it is one more linear layer. Costs 2 D `latent` weights and a
    draw per token.

    The paper's formulas are not public; these are ours, and so are `latent` and `weight`. No annealing of the weight:
    a head that starts at zero gives the KL a start in any case, and a schedule would need a clock in the critic. The
    draws belong to the trajectory and its position: more passes over one batch meet the same noise.
    """

    latent: int = 128
    weight: float = 1e-3

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise ValueError(f"bottleneck.latent must be at least 1, got {self.latent}")
        if self.weight < 0:
            raise ValueError(f"bottleneck.weight cannot be negative, got {self.weight}; 0 leaves the noise alone")

    def reaches(self, width: int) -> int:
        """The width of what it hands on."""
        return self.latent

    def build(self, context: CriticContext, width: int) -> nn.Module:
        """The live layer over states of this width."""
        return BottleneckLayer(self, context.seed, width)


class BottleneckLayer(nn.Module):
    """States [S, D] to codes [S, latent]."""

    def __init__(self, part: Bottleneck, seed: int, width: int) -> None:
        super().__init__()
        self.part, self.seed = part, seed
        self.mean, self.logvar = nn.Linear(width, part.latent), nn.Linear(width, part.latent)
        source, bound = torch_generator(seed, "critic/bottleneck"), width**-0.5
        with torch.no_grad():
            for layer in (self.mean, self.logvar):
                layer.weight.uniform_(-bound, bound, generator=source)
                layer.bias.zero_()

    def encode(self, states: Float[Tensor, "S D"]) -> tuple[Float[Tensor, "S Z"], Float[Tensor, "S Z"]]:
        """Mean and log-variance of the code."""
        return self.mean(states), self.logvar(states).clamp(*LOGVAR_RANGE)

    def shape(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, mask: Bool[Tensor, "N T"]
    ) -> tuple[Float[Tensor, "S Z"], tuple[LossTerm, ...]]:
        """A drawn code and what it costs."""
        mean, logvar = self.encode(states)
        code = noisy_code(mean, logvar, self.noise(batch).to(mean))
        if not self.part.weight:
            return code, ()
        cost = scatter_sampled(gaussian_kl(mean, logvar), batch.sampled_mask)
        return code, (LossTerm("bottleneck_kl", cost, mask, self.part.weight, TokenMean()),)

    def settle(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S Z"]:
        """The code without noise."""
        return self.mean(states)

    def noise(self, batch: TokenBatch) -> Float[Tensor, "S Z"]:
        """Standard normals by (seed, trajectory): the same however the batch is cut."""
        counts = batch.sampled_mask.sum(-1).tolist()
        drawn = [
            generator(self.seed, "critic/bottleneck", name).standard_normal((count, self.part.latent), np.float32)
            for name, count in zip(batch.trajectory_ids, counts, strict=True)
        ]
        return torch.from_numpy(np.concatenate(drawn))
