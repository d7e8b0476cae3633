"""What a view says of the tokens that were sampled, a few of them at a time."""

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.head import tokens_at_once
from critica.functional.logprobs import token_logprobs
from critica.records.arrays import TokenBatch, scatter_sampled
from critica.records.evidence import View


@torch.no_grad()
def view_logprobs(view: View, batch: TokenBatch) -> Float[Tensor, "N T"]:
    """log-probs of the tokens that the view covers, at the tokens' own temperatures; zero elsewhere.

    Logits exist for a piece of the tokens at a time. No gradient.
    """
    mask = view.covers
    tokens, heat = batch.token_ids[mask], batch.temperature[mask]
    size = tokens_at_once(view.head(view.states[:1]).shape[-1]) if len(tokens) else 1
    pieces = zip(view.states.split(size), tokens.split(size), heat.split(size), strict=True)
    found = [token_logprobs(view.head(states), ids, heats) for states, ids, heats in pieces]
    flat = torch.cat(found) if found else batch.behavior_logprobs.new_zeros(0)
    return scatter_sampled(flat.to(batch.behavior_logprobs.dtype), mask)
