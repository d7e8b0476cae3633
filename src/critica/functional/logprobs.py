"""The one file that shifts: what a token's log-prob is, and which hidden state stood before it."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 1 << 16  # entries of [S V] touched at a time where a temporary is needed: it stays in cache


def states_before(hidden: Float[Tensor, "N T D"], sampled_mask: Bool[Tensor, "N T"]) -> Float[Tensor, "S D"]:
    """The hidden state at t-1 for every sampled token t, row-major: what the token was predicted from.

    Raises ValueError if a first token is sampled: nothing stands before it.
    """
    if bool(sampled_mask[:, :1].any()):
        raise ValueError("states_before: a row's first token is sampled, so no state stands before it; give a prompt")
    rows, width, size = hidden.shape
    positions = sampled_mask.flatten().nonzero().squeeze(-1)
    return hidden.reshape(rows * width, size).index_select(0, positions - 1)


def final_states(hidden: Float[Tensor, "N T D"], valid_mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N D"]:
    """The hidden state at each row's last valid token: what is expected after it. Raises ValueError on an empty row."""
    if not bool(valid_mask.any(-1).all()):
        raise ValueError("final_states: a row has no valid token, so it has no last one; drop the row")
    rows, width, size = hidden.shape
    last = (valid_mask * torch.arange(width, device=hidden.device)).amax(-1)
    starts = torch.arange(rows, device=hidden.device) * width
    return hidden.reshape(rows * width, size).index_select(0, starts + last)


def token_logprobs(
    logits: Float[Tensor, "S V"], token_ids: Int[Tensor, "S"], temperature: Float[Tensor, "S"]
) -> Float[Tensor, "S"]:
    """log softmax(logits / temperature)[token]. Temperature 0 was greedy: scored at temperature 1."""
    return _LogprobsAndEntropies.apply(heated(logits, temperature), token_ids, False)[0]


def token_entropies(logits: Float[Tensor, "S V"], temperature: Float[Tensor, "S"]) -> Float[Tensor, "S"]:
    """-sum_v p_v log p_v of softmax(logits / temperature), in nats; a token of probability 0 adds 0."""
    anything = torch.zeros(logits.shape[0], dtype=torch.long, device=logits.device)
    return _LogprobsAndEntropies.apply(heated(logits, temperature), anything, True)[1]


def logprobs_and_entropies(
    logits: Float[Tensor, "S V"], token_ids: Int[Tensor, "S"], temperature: Float[Tensor, "S"]
) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
    """`token_logprobs` and `token_entropies` from one log-softmax; its [S V] output is all that backward keeps."""
    return _LogprobsAndEntropies.apply(heated(logits, temperature), token_ids, True)


def heated(logits: Float[Tensor, "S V"], temperature: Float[Tensor, "S"]) -> Float[Tensor, "S V"]:
    """logits / temperature, without a copy when every temperature is 1 (or greedy)."""
    divisor = torch.where(temperature == 0, torch.ones_like(temperature), temperature)
    return logits if bool((divisor == 1).all()) else logits / divisor.to(logits.dtype).unsqueeze(-1)


class _LogprobsAndEntropies(torch.autograd.Function):
    """With p the softmax, H its entropy, and a the token: d log p_a / dz = 1_a - p and dH/dz = -p (log p + H)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, token_ids: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor]:
        every = torch.log_softmax(logits, -1)
        ids = token_ids.long()
        chosen = every.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
        entropy = _entropy(every) if with_entropy else torch.zeros_like(chosen)
        ctx.save_for_backward(every, ids, entropy)
        ctx.set_materialize_grads(False)
        if not with_entropy:
            ctx.mark_non_differentiable(entropy)
        return chosen, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_chosen: Tensor | None, for_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        every, ids, entropy = ctx.saved_tensors
        grad = torch.exp(every)
        if for_entropy is not None:
            for part, logs, row_entropy, row_grad, row_chosen in _rows(
                grad, every, entropy, for_entropy, torch.zeros_like(entropy) if for_chosen is None else for_chosen
            ):
                factor = _finite(logs) + row_entropy.unsqueeze(-1)
                part.mul_(factor.mul_(-row_grad.unsqueeze(-1)).sub_(row_chosen.unsqueeze(-1)))
        elif for_chosen is not None:
            grad.mul_(-for_chosen.unsqueeze(-1))
        else:
            return None, None, None
        if for_chosen is not None:
            grad.scatter_add_(-1, ids.unsqueeze(-1), for_chosen.unsqueeze(-1))
        return grad, None, None


def _entropy(logprobs: Tensor) -> Tensor:
    parts = [-torch.linalg.vecdot(logs.exp(), _finite(logs)) for (logs,) in _rows(logprobs)]
    return torch.cat(parts) if parts else logprobs.new_zeros(0)


def _finite(logs: Tensor) -> Tensor:
    """A copy whose -inf (a banned token) is finite, so that 0 times it is 0."""
    return logs.clamp(min=-1e30)


def _rows(*tensors: Tensor) -> zip:
    """The tensors, cut into the same runs of rows, so that a temporary never grows with S."""
    count = max(1, CHUNK // max(1, tensors[0].shape[-1]))
    return zip(*(tensor.split(count) for tensor in tensors), strict=True)
