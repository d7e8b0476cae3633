"""The variational information bottleneck: a noisy code, and what it costs to say more than the prior."""

import torch
from jaxtyping import Float
from torch import Tensor


def gaussian_kl(mean: Float[Tensor, "*S Z"], logvar: Float[Tensor, "*S Z"]) -> Float[Tensor, "*S"]:
    """KL(N(mean, exp(logvar)) || N(0, 1)) = 1/2 sum_d (mean^2 + exp(logvar) - 1 - logvar), in nats.

    Source: Alemi et al. 2017 (arXiv 1612.00410), eq. 17 with a standard normal prior. 0 iff mean = logvar = 0.
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(-1)


def noisy_code(
    mean: Float[Tensor, "*S Z"], logvar: Float[Tensor, "*S Z"], noise: Float[Tensor, "*S Z"]
) -> Float[Tensor, "*S Z"]:
    """z = mean + exp(logvar / 2) noise: a sample whose gradient reaches mean and logvar (Kingma & Welling 2014).

    As logvar falls to -inf it is the mean itself, bit for bit.
    """
    return mean + (0.5 * logvar).exp() * noise


def uncertain_tokens(
    entropy: Float[Tensor, "N T"], surprise: Float[Tensor, "N T"], mask: Tensor, share: float
) -> Tensor:
    """Masked tokens whose entropy or surprise is at least its own row's `share`-quantile: Bool[N T], no gradient.

    entropy, surprise: nats; surprise orders tokens as perplexity exp(surprise) does. The quantile is the smallest
    value that `share` of the row's masked tokens do not exceed, so at least one token of a row is always uncertain.
    Source: VRPO (arXiv 2508.03058), whose thresholds are over a batch; here over each trajectory, so that cutting a
    batch in pieces changes nothing.
    """
    chosen = torch.zeros_like(mask)
    for values in (entropy, surprise):
        chosen |= values.detach() >= _row_quantile(values.detach(), mask, share)[:, None]
    return chosen & mask


def _row_quantile(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """The lower empirical quantile of each row's masked values; +inf for a row without any."""
    ordered = values.masked_fill(~mask, torch.inf).sort(-1).values
    count = mask.sum(-1)
    index = (torch.ceil(share * count.double()).long() - 1).clamp(min=0)
    return ordered.gather(-1, index[:, None]).squeeze(-1)
