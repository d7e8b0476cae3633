"""Siblings side by side: which of two is the better, how much likelier it became, and what a pair is charged for it.

Everything about pairs is a matrix [N N]: row i against column j. What is antisymmetric in (i, j) is a gap. With
h_ij = log pi / anchor of answer i less that of answer j, an answer's log-ratio being the sum over its tokens:

| loss of a pair (i better) | minimizer over all policies | source |
|---|---|---|
| -log sigmoid(beta h) | anchor exp(r / beta), r the Bradley-Terry score | DPO, arXiv 2305.18290 |
| the same with labels that are wrong at a rate e | the same law for true labels flipped at rate e | cDPO |
| (h - 1 / (2 beta))^2 | anchor exp(win rate / beta) | IPO, arXiv 2310.12036; INPO, arXiv 2407.00617 |
| cross-entropy of sigmoid(beta h) and sigmoid(r_i - r_j) | anchor exp(r / beta) | DNO, arXiv 2404.03715 |
| max(0, 1 - beta h) | a margin, no law | SLiC, arXiv 2305.10425 |
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def gaps(values: Float[Tensor, "N"]) -> Float[Tensor, "N N"]:
    """values_i - values_j; 0 where either is NaN."""
    known = ~values.isnan()
    clean = values.nan_to_num(0.0)
    return (clean[:, None] - clean[None, :]) * (known[:, None] & known[None, :])


def known_siblings(known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]) -> Bool[Tensor, "N N"]:
    """Whether i and j are two different rows of one group whose outcomes are both known."""
    same = group_index[:, None] == group_index[None, :]
    apart = ~torch.eye(len(known), dtype=torch.bool, device=known.device)
    return same & apart & known[:, None] & known[None, :]


def better_pairs(
    outcome: Float[Tensor, "N"], siblings: Bool[Tensor, "N N"], margin: float = 0.0
) -> Bool[Tensor, "N N"]:
    """Whether i is better than its sibling j by more than `margin`: a tie makes no pair."""
    return siblings & (gaps(outcome) > margin)


def extremes(outcome: Float[Tensor, "N"], siblings: Bool[Tensor, "N N"]) -> Bool[Tensor, "N N"]:
    """Whether i is the best of its group and j the worst; the first row among equals, so at most one pair a group."""
    gap, place = gaps(outcome), torch.arange(len(outcome), device=outcome.device)
    sooner = (gap == 0) & (place[None, :] < place[:, None])
    best = ~(siblings & ((gap < 0) | sooner)).any(-1)
    worst = ~(siblings & ((gap > 0) | sooner)).any(-1)
    return siblings & best[:, None] & worst[None, :]


def win_shares(outcome: Float[Tensor, "N"], siblings: Bool[Tensor, "N N"]) -> Float[Tensor, "N"]:
    """The share of its siblings that a row beats, a tie counting half; 1/2 without any.

    Of siblings drawn from pi it estimates E_{y' ~ pi} P(y > y') without bias.
    """
    gap = gaps(outcome)
    won = (gap > 0).to(outcome.dtype) + 0.5 * (gap == 0).to(outcome.dtype)
    count = siblings.sum(-1)
    share = torch.where(siblings, won, torch.zeros_like(won)).sum(-1) / count.clamp(min=1)
    return torch.where(count > 0, share, torch.full_like(share, 0.5))


def logistic_losses(
    ratio_gap: Float[Tensor, "*P"], strength: float, better: Float[Tensor, "*P"]
) -> Float[Tensor, "*P"]:
    """-q log sigmoid(beta h) - (1 - q) log sigmoid(-beta h), q = `better` the chance that i is the better one.

    At least the entropy of q, reached at beta h = log q / (1 - q): for q below 1 there is a finite best gap.
    """
    scaled = strength * ratio_gap
    return torch.nn.functional.softplus(-scaled) + (1 - better) * scaled


def squared_losses(ratio_gap: Float[Tensor, "*P"], wanted: Float[Tensor, "*P"] | float) -> Float[Tensor, "*P"]:
    """(h - wanted)^2: the gap itself is regressed, so that a pair is never pulled beyond what is wanted."""
    return (ratio_gap - wanted).square()


def hinge_losses(ratio_gap: Float[Tensor, "*P"], strength: float) -> Float[Tensor, "*P"]:
    """max(0, 1 - beta h): no pull once i is 1 / beta nats ahead."""
    return (1 - strength * ratio_gap).clamp(min=0)


def centered(values: Float[Tensor, "N"], known: Bool[Tensor, "N"], group_index: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """values less the mean over the known rows of their group, with gradient; 0 at unknown rows."""
    same = ((group_index[:, None] == group_index[None, :]) & known[:, None] & known[None, :]).to(values.dtype)
    clean = torch.where(known, values, torch.zeros_like(values))
    return torch.where(known, clean - same @ clean / same.sum(-1).clamp(min=1), torch.zeros_like(clean))
