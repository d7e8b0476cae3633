"""A Gaussian return law: its likelihood, and the Gaussian that stands for several."""

import torch
from jaxtyping import Float
from torch import Tensor


def gaussian_loss(
    mean: Float[Tensor, "*B"],
    spread: Float[Tensor, "*B"],
    targets: Float[Tensor, "*B S"],
    weights: Float[Tensor, "*B S"],
    balance: float,
) -> Float[Tensor, "*B"]:
    """detach(sigma)^(2 balance) sum_s w_s [ (y_s - mu)^2 / (2 sigma^2) + log sigma ].

    mean, spread, targets: in units of return; weights: sum to one over S. `balance` 0 is the negative log-likelihood
    (up to log sqrt(2 pi)), whose pull on mu fades where sigma is large; at 1 that pull is the squared error's, and
    sigma's is unchanged in sign (beta-NLL, Seitzer et al. 2022, arXiv 2203.09168, eq. 4). For every balance the
    minimizers are the samples' weighted mean and standard deviation. With sigma fixed at 1: half the squared error.
    """
    error = (targets - mean.unsqueeze(-1)).square()
    likelihood = ((error / (2 * spread.square().unsqueeze(-1))) * weights).sum(-1) + spread.log()
    return spread.detach().pow(2 * balance) * likelihood


def pooled_gaussian(
    means: Float[Tensor, "*B M"], spreads: Float[Tensor, "*B M"]
) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B"]]:
    """Mean and standard deviation of the even mixture of M Gaussians: the mean of variances plus that of means.

    The second part is the members' disagreement; with spreads zero it is all there is.
    """
    variance = spreads.square().mean(-1) + means.var(-1, correction=0)
    return means.mean(-1), torch.sqrt(variance)
