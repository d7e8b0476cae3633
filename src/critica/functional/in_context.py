"""Success judged from a record of other prompts: a kernel over what is near, and the loss that picks its width."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.beta import beta_mean

RANK_SHARE = 0.25


def kernel_weights(distances: Float[Tensor, "*S"], bandwidth: float) -> Float[Tensor, "*S"]:
    """exp(-d^2 / (2 bandwidth^2)); at bandwidth 0 only what is exactly here counts, at infinity everything alike."""
    if not bandwidth >= 0:
        raise ValueError(f"kernel_weights: bandwidth cannot be negative, got {bandwidth}")
    if bandwidth == 0:
        return (distances == 0).to(distances.dtype)
    return torch.exp(-0.5 * (distances / bandwidth).square())


def kernel_rates(
    distances: Float[Tensor, "Q C"],
    bandwidth: float,
    totals: Float[Tensor, "C"],
    counts: Float[Tensor, "C"],
    base: float,
    strength: float,
) -> tuple[Float[Tensor, "Q"], Float[Tensor, "Q"]]:
    """P(success | prompt, record) = (strength base + sum w_c total_c) / (strength + sum w_c count_c), and the support.

    distances: of each asked prompt to each prompt c of the record, which has `counts` outcomes in [0, 1] that sum to
    `totals`; w = `kernel_weights`. The record is a set: its order is of no matter. Bandwidth 0 gives each prompt's
    own Beta posterior, infinity the mean of the record whatever is asked. A dependency-free stand-in for the
    in-context classifier of V_0 (arXiv 2602.03584).
    """
    weights = kernel_weights(distances, bandwidth)
    support = weights @ counts
    return beta_mean(weights @ totals, support, base, strength), support


def rank_loss(
    logits: Float[Tensor, "C"], successes: Float[Tensor, "C"], failures: Float[Tensor, "C"]
) -> Float[Tensor, ""]:
    """Mean of -log sigmoid(s_i - s_j) over pairs of a success of prompt i and a failure of another prompt j.

    Unchanged by adding one number to all s: it cannot be lowered by knowing how strong the policy is, only by
    knowing which prompt is harder. 0 without such a pair. Source: V_0 (arXiv 2602.03584), within one context.
    """
    pairs = successes[:, None] * failures[None, :]
    pairs = pairs - torch.diag(pairs.diagonal())
    losses = torch.nn.functional.softplus(logits[None, :] - logits[:, None])
    return (pairs * losses).sum() / pairs.sum().clamp(min=1e-12)


def cross_entropy(
    logits: Float[Tensor, "C"], successes: Float[Tensor, "C"], failures: Float[Tensor, "C"]
) -> Float[Tensor, ""]:
    """Mean over outcomes of -log p(outcome), p = sigmoid(s)."""
    losses = successes * torch.nn.functional.softplus(-logits) + failures * torch.nn.functional.softplus(logits)
    return losses.sum() / (successes + failures).sum().clamp(min=1e-12)


def context_loss(
    rates: Float[Tensor, "C"], totals: Float[Tensor, "C"], counts: Float[Tensor, "C"]
) -> Float[Tensor, ""]:
    """0.25 rank loss + 0.75 cross entropy of predicted rates against the record (V_0's mixture)."""
    inside = rates.clamp(1e-4, 1 - 1e-4)
    logits = (inside / (1 - inside)).log()
    successes = torch.minimum(totals.clamp(min=0), counts)
    failures = counts - successes
    rank = rank_loss(logits, successes, failures)
    return RANK_SHARE * rank + (1 - RANK_SHARE) * cross_entropy(logits, successes, failures)


def best_bandwidth(
    distances: Float[Tensor, "C C"],
    totals: Float[Tensor, "C"],
    counts: Float[Tensor, "C"],
    base: float,
    strength: float,
    candidates: Sequence[float],
) -> float:
    """The candidate whose leave-one-out predictions of the record have the least `context_loss`; the first of equals.

    Each prompt is predicted from all the others. `candidates` in the order of preference: put the widest first.
    """
    losses = []
    for bandwidth in candidates:
        weights = kernel_weights(distances, bandwidth).fill_diagonal_(0)
        rates = beta_mean(weights @ totals, weights @ counts, base, strength)
        losses.append(float(context_loss(rates, totals, counts)))
    return candidates[losses.index(min(losses))]
