"""A reward model read at the ends of sentences: differences, their attention, and what shaping by them leaves alone."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def attention_weights(
    query: Float[Tensor, "N A"], keys: Float[Tensor, "N L A"], present: Bool[Tensor, "N L"]
) -> Float[Tensor, "N L"]:
    """w_k = n softmax_k(query . key_k / sqrt(A)) over the n sentences of a row: their mean is one; 0 elsewhere."""
    scores = (keys * query[:, None]).sum(-1) / query.shape[-1] ** 0.5
    scores = scores.masked_fill(~present, -torch.inf)
    scores = torch.where(present.any(-1, keepdim=True), scores, torch.zeros_like(scores))
    return scores.softmax(-1) * present.sum(-1, keepdim=True) * present


def response_score(
    before: Float[Tensor, "N L"], after: Float[Tensor, "N L"], weights: Float[Tensor, "N L"]
) -> Float[Tensor, "N"]:
    """R = sum_k w_k d_k with d_k = v_k - v_{k-1} (arXiv 2503.04793). With all weights one it is v_n - v_0."""
    return (weights * (after - before)).sum(-1)


def differences(
    potential: Float[Tensor, "N L"], after: Float[Tensor, "N"], present: Bool[Tensor, "N L"], absorbing: bool
) -> Float[Tensor, "N L"]:
    """d_k = Phi_k - Phi_{k-1} at each of a row's n steps; `potential` is Phi_{k-1}, before the step. 0 elsewhere.

    Phi_n, after the last step, is `after`, or 0 if `absorbing`. They sum to Phi_n - Phi_0, and all answers to a prompt
    start from one Phi_0: with the end absorbing, adding any multiple to the rewards changes no policy's rank (Ng,
    Harada & Russell 1999; undiscounted, the end's potential must be a constant). With the end's own Phi_n it adds the
    verdict on the whole answer, and the best policy may be another. Attention other than one leaves no potential.
    """
    order = present.long().cumsum(-1)
    last = present & (order == order[:, -1:])
    end = torch.zeros_like(after) if absorbing else after
    following = torch.where(last, end[:, None], potential.roll(-1, 1))
    return torch.where(present, following - potential, torch.zeros_like(potential))
