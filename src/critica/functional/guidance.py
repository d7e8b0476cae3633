"""KL-regularized value guidance: how a law of the reward-to-go under a policy becomes a better policy (Q#).

Tokens are appended, so the dynamics are deterministic, and the policy that maximizes E[R] - eta KL(pi || pi_ref) is

    pi*(a | s) ∝ pi_ref(a | s) E[exp(Z(s, a) / eta)],    Q*(s, a) = eta log E[exp(Z(s, a) / eta)] >= E[Z(s, a)],

where Z(s, a) is the reward-to-go after a under **pi_ref** itself: no maximum, no bootstrapping, no moving target (Zhou
et al. 2025, "Q#", arXiv 2502.20548, theorem 1). A *tilt* is log E[exp(Z / eta)] = Q* / eta, in nats. eta -> infinity
is pi_ref, eta -> 0 the best of what the law thinks possible. Everything is a log-sum-exp: exp(1 / eta) itself leaves
fp32 at eta = 0.0112. Adding a constant to all rewards adds a constant to all tilts, which changes no policy.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.functional.random import uniforms


def categorical_tilt(logits: Float[Tensor, "*B K"], atoms: Float[Tensor, "K"], eta: float) -> Float[Tensor, "*B"]:
    """log sum_k p_k exp(a_k / eta), p = softmax(logits), as a difference of two log-sum-exps: exactly 0 at eta = inf.

    `logits` may be log-probabilities; -inf is a probability of 0. Atoms in units of reward, in any order. Two atoms
    (0, 1) and logits (0, z) are a coin with P(1) = sigmoid(z): log(1 - p + p e^(1 / eta)).
    """
    check_eta(eta)
    return torch.logsumexp(logits + atoms.to(logits) / eta, -1) - torch.logsumexp(logits, -1)


def coin_tilt(prob: Float[Tensor, "*B"], low: float, high: float, eta: float) -> Float[Tensor, "*B"]:
    """log((1 - p) exp(low / eta) + p exp(high / eta)): a reward that is `high` with probability p, else `low`."""
    check_eta(eta)
    law = torch.stack((torch.log1p(-prob), prob.log()), -1)
    return categorical_tilt(law, prob.new_tensor([low, high]), eta)


def quantile_tilt(values: Float[Tensor, "*B K"], eta: float) -> Float[Tensor, "*B"]:
    """log mean_k exp(q_k / eta): quantiles at midpoint levels are K samples of equal weight."""
    check_eta(eta)
    return torch.logsumexp(values / eta, -1) - torch.logsumexp(torch.zeros_like(values), -1)


def gaussian_tilt(mean: Float[Tensor, "*B"], spread: Float[Tensor, "*B"], eta: float) -> Float[Tensor, "*B"]:
    """mean / eta + spread^2 / (2 eta^2): a Gaussian's tails are worth ever more as eta falls, bounded rewards' not."""
    check_eta(eta)
    return mean / eta + (spread / eta).square() / 2


def soft_value(tilt: Float[Tensor, "*B"], eta: float) -> Float[Tensor, "*B"]:
    """Q* = eta times the tilt, in units of reward; at least the law's mean (Jensen)."""
    return eta * tilt


def guided_logprobs(logprobs: Float[Tensor, "*B V"], tilts: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
    """log pi*(a) = log pi_ref(a) + tilt(a) - log sum_b pi_ref(b) exp(tilt(b)), over a whole vocabulary."""
    return (logprobs + tilts).log_softmax(-1)


def guided_logits(
    logits: Float[Tensor, "n V"],
    candidates: Int[Tensor, "n k"],
    tilts: Float[Tensor, "n k"],
    temperature: float,
    keeps_rest: bool,
) -> Float[Tensor, "n V"]:
    """Logits whose softmax at `temperature` is pi_ref = softmax(logits / temperature) with its candidates reweighed.

    The k candidates share out their joint probability P anew: pi(a) = P pi_ref(a) e^tilt(a) / sum_b pi_ref(b) e^tilt(b)
    over candidates b. With `keeps_rest` every other token keeps its logit and so its probability, which makes this
    the maximizer of E[R] - eta KL among the policies that leave the others alone; without, the others get none
    and P is 1. Equal tilts change nothing (with `keeps_rest`), and are exactly invisible when they are 0.

    The released code adds the tilt to the candidates alone, so that a token outside counts as one whose Q* is 0: what
    it does then depends on where the reward has its zero. Temperature 0 is greedy, as at temperature 1.
    """
    heat = temperature or 1.0
    own = logits.gather(-1, candidates)
    near = own / heat
    shift = torch.logsumexp(near, -1, keepdim=True) - torch.logsumexp(near + tilts, -1, keepdim=True)
    change = tilts + shift
    unmoved = (tilts == tilts[..., :1]).all(-1, keepdim=True)  # rounding must not move what nothing moves
    moved = own + heat * torch.where(unmoved, torch.zeros_like(change), change)
    rest = logits if keeps_rest else torch.full_like(logits, -torch.inf)
    return rest.scatter(-1, candidates, moved)


def guidance_kl(
    guided: Float[Tensor, "n V"], reference: Float[Tensor, "n V"], temperature: float
) -> Float[Tensor, "n"]:
    """KL(softmax(guided / T) || softmax(reference / T)) in nats; a token without probability adds 0."""
    heat = temperature or 1.0
    after, before = (guided / heat).log_softmax(-1), (reference / heat).log_softmax(-1)
    apart = torch.where(after.isneginf(), torch.zeros_like(after), after - before)
    return (after.exp() * apart).sum(-1)


def switch_time(draw: float, longest: int) -> int:
    """h, uniform on 1..longest from a uniform draw: tokens before h are guided, those from h on are pi_ref's."""
    return 1 + min(int(draw * longest), longest - 1)


def switch_of(name: str, longest: int) -> int:
    """The switch time of the row with this name, "step.slot.index": the same for whoever asks, whatever the seed."""
    return switch_time(float(uniforms(0, "guidance/switch", name, count=1)[0]), longest)


def check_eta(eta: float) -> None:
    """Raise ValueError unless eta is above 0 (infinity is allowed: no guidance)."""
    if not eta > 0:
        raise ValueError(f"eta is the price of a nat of KL in units of reward: it is above 0, got {eta}")
