"""Estimates of KL(policy || reference) from the log-probs of tokens that the policy sampled.

With d = log pi_ref - log pi at a sampled token (Schulman 2020, "Approximating KL divergence"):

| estimator | per token | mean value under pi | mean gradient under pi |
|---|---|---|---|
| k1 | -d | KL(pi, ref), may be negative per token | 0: as a loss it does nothing |
| k2 | d^2 / 2 | biased (second order in d) | that of KL(pi, ref) |
| k3 | e^d - d - 1 | KL(pi, ref), never negative | that of KL(ref, pi) |

"Mean gradient" differentiates the estimator through log pi of fixed samples, as a loss does. In a reward any of them
is a number: use k1 or k3 there, and k2 in a loss that should descend KL(pi, ref).
"""

from jaxtyping import Float
from torch import Tensor

LARGEST_LOG_RATIO = 20.0


def k1(policy_logprobs: Float[Tensor, "*B"], reference_logprobs: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """log pi - log pi_ref: unbiased value, zero mean gradient."""
    return policy_logprobs - reference_logprobs


def k2(policy_logprobs: Float[Tensor, "*B"], reference_logprobs: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """(log pi - log pi_ref)^2 / 2: biased value, unbiased gradient of KL(policy || reference)."""
    return (policy_logprobs - reference_logprobs).square() / 2


def k3(policy_logprobs: Float[Tensor, "*B"], reference_logprobs: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """e^d - d - 1 with d = log pi_ref - log pi: unbiased, non-negative value; gradient of KL(reference || policy).

    d is clamped to +-20 inside the exponential, where e^d would overflow.
    """
    difference = reference_logprobs - policy_logprobs
    return difference.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp() - difference - 1
