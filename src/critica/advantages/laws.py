"""What a rule may read from a predicted law: quantiles, a spread, the means of its heads, and which law it is."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.categorical import categorical_quantiles
from critica.functional.quantiles import midpoint_levels, quantile_at
from critica.records.arrays import Bernoulli, Categorical, Gaussian, Law, Point, Quantiles


@runtime_checkable
class DeclaresLaw(Protocol):
    """A critic's configuration that says which law its predictions carry. One that does not is found out in step 1."""

    @property
    def law(self) -> type[Law]: ...


def predicts(critic: object, *laws: type[Law]) -> bool:
    """Whether a critic's predictions may carry one of these laws; True if it does not say."""
    return not isinstance(critic, DeclaresLaw) or critic.law in laws


def law_quantiles(law: Law, mean: Float[Tensor, "N T"], count: int) -> Float[Tensor, "N T count"]:
    """The law at `count` midpoint levels: members' quantile functions averaged, members' probabilities pooled."""
    levels = midpoint_levels(count, mean.dtype)
    match law:
        case Quantiles(levels=known, values=values):
            curve = values.mean(2)
            return curve if known.shape[0] == count else quantile_at(known.to(mean), curve, levels)
        case Categorical(atoms=atoms, probs=probs):
            return categorical_quantiles(atoms, probs.mean(2), levels)
        case Gaussian(spread=spread):
            return mean[..., None] + spread[..., None] * torch.special.ndtri(levels.double()).to(mean)
        case Bernoulli():
            return (mean[..., None] > 1 - levels).to(mean.dtype)
        case Point():
            return mean[..., None].expand(*mean.shape, count)


def law_spread(law: Law, mean: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """The standard deviation of the law as `law_quantiles` understands it."""
    match law:
        case Quantiles(values=values):
            return values.mean(2).std(-1, correction=0)
        case Categorical(atoms=atoms, probs=probs):
            pooled, places = probs.mean(2), atoms.to(probs)
            center = (pooled * places).sum(-1, keepdim=True)
            return (pooled * (places - center).square()).sum(-1).sqrt()
        case Gaussian(spread=spread):
            return spread
        case Bernoulli():
            return (mean * (1 - mean)).clamp(min=0).sqrt()
        case Point():
            return torch.zeros_like(mean)


def head_means(law: Law, mean: Float[Tensor, "N T"]) -> Float[Tensor, "N T M"]:
    """What each head, or ensemble member, expects; a law without heads has one."""
    match law:
        case Quantiles(values=values):
            return values.mean(-1)
        case Categorical(atoms=atoms, probs=probs):
            return (probs * atoms.to(probs)).sum(-1)
        case _:
            return mean[..., None]
