"""What followed: discounted sums of rewards over the tokens that the policy wrote."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.gather import compact, expand
from critica.functional.recursion import discounted_suffix_sums


def discounted_returns(
    rewards: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], discount: float, bootstrap: Float[Tensor, "N"]
) -> Float[Tensor, "N T"]:
    """G_t = r_t + discount G_{t+1} over the masked tokens of a row, and G after the last one is `bootstrap`.

    Context tokens are skipped: they neither discount nor hold a return (zero there). With discount 1 and one reward
    R at the end, every token's return is R. Raises ValueError if an unmasked token carries a reward: move it first
    (`move_rewards_to_sampled`).
    """
    refuse_stray_rewards(rewards, mask, "discounted_returns")
    dense, lengths = compact(rewards, mask)
    last = torch.arange(dense.shape[1], device=dense.device) == (lengths - 1).unsqueeze(-1)
    dense = dense + last * (discount * bootstrap).unsqueeze(-1)
    return expand(discounted_suffix_sums(dense, discount), mask)


def refuse_stray_rewards(rewards: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], where: str) -> None:
    """Raise ValueError if a reward lies where the mask is false, where no recursion would see it."""
    stray = (rewards != 0) & ~mask
    if bool(stray.any()):
        row, token = stray.nonzero()[0].tolist()
        raise ValueError(
            f"{where}: row {row} has a reward at token {token}, which is not in the mask and would be lost; "
            "call move_rewards_to_sampled first"
        )
