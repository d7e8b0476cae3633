"""How far the policy moved from the one that sampled, and the surrogates that stop it from moving further."""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LARGEST_LOG_RATIO = 20.0  # e^20 = 4.9e8: beyond it a ratio says only "far away", and would overflow

Level = Literal["token", "sequence_mean", "sequence_sum"]  # what one ratio speaks of: a token, or a row's masked tokens


def log_ratio(policy_logprobs: Float[Tensor, "*B"], proximal_logprobs: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """log pi_policy - log pi_proximal, unclamped."""
    return policy_logprobs - proximal_logprobs


def ratio(policy_logprobs: Float[Tensor, "*B"], proximal_logprobs: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """pi_policy / pi_proximal, its logarithm clamped to +-20; no gradient beyond."""
    return torch.exp(log_ratio(policy_logprobs, proximal_logprobs).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))


def leveled(log_ratio: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], level: Level) -> Float[Tensor, "N T"]:
    """The log ratio of each token's level, on the grid: the token's own, or its row's masked mean or sum.

    A row's number stands at each of its tokens and passes its gradient through that token alone (GSPO's token form,
    arXiv 2507.18071, eq. 14): averaged over the tokens (`sequence_mean`) or summed (`sequence_sum`), the gradient is
    that of the row's number.
    """
    if level == "token":
        return log_ratio
    total = log_ratio.detach().masked_fill(~mask, 0.0).sum(-1, keepdim=True)
    if level == "sequence_mean":
        total = total / mask.sum(-1, keepdim=True).clamp(min=1)
    return total + (log_ratio - log_ratio.detach())


def clipped_surrogate(
    ratio: Float[Tensor, "*B"], advantage: Float[Tensor, "*B"], low: float, high: float, dual: float | None = None
) -> Float[Tensor, "*B"]:
    """A loss: -min(ratio A, clip(ratio, 1 - low, 1 + high) A), per token.

    PPO (arXiv 1707.06347, eq. 7) with low = high; DAPO's clip-higher with high > low. With `dual` (above 1) the loss
    of a negative advantage is at most -dual A, and has no gradient beyond (dual clip, arXiv 1912.09729, eq. 5). At
    ratio 1 its gradient is REINFORCE's, -A d log pi.
    """
    if dual is not None and not dual > 1:
        raise ValueError(f"clipped_surrogate: dual must be above 1, got {dual}")
    loss = torch.maximum(-ratio * advantage, -ratio.clamp(1 - low, 1 + high) * advantage)
    if dual is None:
        return loss
    return torch.where(advantage < 0, torch.minimum(loss, -dual * advantage), loss)


def shift_clipped_surrogate(
    ratio: Float[Tensor, "*B"], advantage: Float[Tensor, "*B"], proximal_logprobs: Float[Tensor, "*B"], width: float
) -> tuple[Float[Tensor, "*B"], Bool[Tensor, "*B"]]:
    """-min(ratio A, clip(ratio, 1 - width / mu, 1 + width / mu) A), mu = exp(proximal): |pi - mu| <= width.

    The trust region is one of probabilities, not of ratios (DPPO, as used by BPCO, arXiv 2608.23566): a rare token may
    grow many times over, a likely one hardly. Also which tokens the clip silenced. At mu = 1 it is `clipped_surrogate`
    with low = high = width; where pi = mu its gradient is REINFORCE's.
    """
    reach = width * torch.exp(-proximal_logprobs.detach())
    inside = torch.minimum(torch.maximum(ratio, 1 - reach), 1 + reach)
    silenced = ((ratio > 1 + reach) & (advantage > 0)) | ((ratio < 1 - reach) & (advantage < 0))
    return torch.maximum(-ratio * advantage, -inside * advantage), silenced


def soft_clipped_surrogate(
    ratio: Float[Tensor, "*B"], advantage: Float[Tensor, "*B"], positive: float, negative: float
) -> Float[Tensor, "*B"]:
    """-(4 / tau) sigmoid(tau (ratio - 1)) A, tau = `positive` where A > 0, else `negative` (SAPO, arXiv 2511.20347).

    The slope at ratio 1 is -A for every tau, so that on-policy the gradient is REINFORCE's; it fades smoothly to both
    sides, where a clip would cut.
    """
    tau = torch.where(advantage > 0, positive, negative).to(ratio.dtype)
    return -4.0 / tau * torch.sigmoid(tau * (ratio - 1)) * advantage


def clipped_weight_surrogate(
    ratio: Float[Tensor, "*B"],
    policy_logprobs: Float[Tensor, "*B"],
    advantage: Float[Tensor, "*B"],
    low: float,
    high: float,
) -> Float[Tensor, "*B"]:
    """-sg[clip(ratio, low, high)] A log pi: every token keeps a gradient, none counts too much (CISPO, 2506.13585).

    `low` and `high` bound the ratio itself. At ratio 1 the gradient is REINFORCE's.
    """
    return -ratio.detach().clamp(low, high) * advantage * policy_logprobs


def geometric_mean_surrogate(
    log_ratio: Float[Tensor, "N T"], advantage: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], low: float, high: float
) -> tuple[Float[Tensor, "N T"], Bool[Tensor, "N T"]]:
    """-A exp(mean_t c_t), c_t = min(log ratio, high) where A > 0, max(log ratio, -low) where A < 0; who was clipped.

    GMPO (arXiv 2507.20673): the geometric mean of token ratios, each clipped in log space on the side that would gain.
    Stands at each token like `leveled`: average over a row's tokens. Without clipping it is GSPO's ratio, unclipped.
    """
    clipped = ((log_ratio > high) & (advantage > 0)) | ((log_ratio < -low) & (advantage < 0))
    bound = torch.where(advantage > 0, log_ratio.clamp(max=high), log_ratio.clamp(min=-low))
    return -advantage * torch.exp(leveled(bound, mask, "sequence_mean")), clipped & mask


def gamma_weight(ratio: Float[Tensor, "*B"], shape: float, rate: float) -> Float[Tensor, "*B"]:
    """exp(rate) w^shape exp(-rate w), detached: 1 at w = 1, largest at shape / rate, 0 far away (VESPO's phi)."""
    w = ratio.detach()
    return math.exp(rate) * w.pow(shape) * torch.exp(-rate * w)


def clip_fraction(
    ratio: Float[Tensor, "*B"], advantage: Float[Tensor, "*B"], low: float, high: float
) -> Bool[Tensor, "*B"]:
    """Which tokens the clip silenced (no gradient): its mean over a mask is the clip fraction."""
    return ((ratio > 1 + high) & (advantage > 0)) | ((ratio < 1 - low) & (advantage < 0))


def importance(log_weight: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """exp of a log weight clamped to +-20, detached: what a loss is multiplied by where the sampler was another."""
    return torch.exp(log_weight.detach().clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
