"""Returns that bootstrap at chosen places: the n-step backup, with n from one place to the next."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.gather import compact, expand
from critica.functional.returns import refuse_stray_rewards


def backed_up(
    rewards: Float[Tensor, "N T"],
    values: Float[Tensor, "N T"],
    places: Bool[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    discount: float,
) -> Float[Tensor, "N T"]:
    """y_t = r_t + discount (V_{t+1} if t+1 is a place, else y_{t+1}) over the masked tokens of a row; 0 after the last.

    From one place to the next it is sum_k discount^k r_k + discount^n V: the backup of a chunk of n tokens. With every
    token a place it is TD(0)'s target, without any the discounted return. Zero where the mask is false.
    """
    refuse_stray_rewards(rewards, mask, "backed_up")
    dense, _ = compact(rewards, mask)
    ahead, stops = compact(values, mask)[0], compact(places.to(values.dtype), mask)[0] > 0
    later = dense.new_zeros(dense.shape[0])
    found = []
    for t in reversed(range(dense.shape[1])):
        now = dense[:, t] + discount * later
        found.append(now)
        later = torch.where(stops[:, t], ahead[:, t], now)
    return expand(torch.stack(found[::-1], 1), mask) if found else torch.zeros_like(values)
