"""How far the policy moved from the one that sampled, and the surrogate that stops it from moving further."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LARGEST_LOG_RATIO = 20.0  # e^20 = 4.9e8: beyond it a ratio says only "far away", and would overflow


def log_ratio(policy_logprobs: Float[Tensor, "*B"], proximal_logprobs: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """log pi_policy - log pi_proximal, unclamped."""
    return policy_logprobs - proximal_logprobs


def ratio(policy_logprobs: Float[Tensor, "*B"], proximal_logprobs: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """pi_policy / pi_proximal, its logarithm clamped to +-20; no gradient beyond."""
    return torch.exp(log_ratio(policy_logprobs, proximal_logprobs).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))


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


def clip_fraction(
    ratio: Float[Tensor, "*B"], advantage: Float[Tensor, "*B"], low: float, high: float
) -> Bool[Tensor, "*B"]:
    """Which tokens the clip silenced (no gradient): its mean over a mask is the clip fraction."""
    return ((ratio > 1 + high) & (advantage > 0)) | ((ratio < 1 - low) & (advantage < 0))


def truncated_importance(
    proximal_logprobs: Float[Tensor, "*B"], behavior_logprobs: Float[Tensor, "*B"], cap: float
) -> Float[Tensor, "*B"]:
    """min(pi_proximal / pi_behavior, cap), detached: what a loss is multiplied by when the sampler was not the policy.

    Truncation biases towards what the sampler liked; per token it is also biased for a reward that comes later.
    """
    return ratio(proximal_logprobs, behavior_logprobs).clamp(max=cap).detach()
