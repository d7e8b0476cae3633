"""The policy that reward plus entropy makes optimal, and how far noise in the reward can move it."""

from jaxtyping import Float
from torch import Tensor


def soft_policy(reward: Float[Tensor, "A"], temperature: float) -> Float[Tensor, "A"]:
    """log pi, pi proportional to exp(reward / temperature): the argmax of E_pi[reward] + temperature * entropy(pi)."""
    return (reward / temperature).log_softmax(-1)


def temperature_for_noise(noise: float, log_ratio: float) -> float:
    """tau = 2 noise / log_ratio: two rewards at most `noise` apart then give soft policies at most `log_ratio` apart.

    max_a |log pi(a | r) - log pi(a | r')| <= 2 max_a |r(a) - r'(a)| / tau: the logits move by at most noise / tau and
    so does their log-sum-exp. Source: The Policy Cliff (arXiv 2507.20150), the bound in this form by our derivation.
    """
    return 2.0 * noise / log_ratio


def noise_of_rates(false_positives: float, false_negatives: float, low: float = 0.0, high: float = 1.0) -> float:
    """The largest |E[told] - true| of a two-valued reward whose verdicts are wrong this often."""
    return max(false_positives, false_negatives) * (high - low)
