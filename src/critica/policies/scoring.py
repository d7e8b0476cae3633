"""Log-probs and entropies of given tokens from a policy's states: at once where it is small, else chunk by chunk."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from critica.functional.head import head_logprobs, pays, read_laws
from critica.functional.kept_laws import KeptLaws
from critica.functional.logprobs import logprobs_and_entropies, token_logprobs
from critica.policies.families import is_plain


class MakesLogits(Protocol):
    """What turns states into logits, in fp32 or better."""

    def logits(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S V"]: ...


@runtime_checkable
class HasHead(Protocol):
    """A policy whose logits are its head's, cast to fp32 or better, and nothing more."""

    @property
    def head(self) -> nn.Module: ...


def vocabulary_of(policy: MakesLogits, states: Float[Tensor, "S D"]) -> int:
    """V, read off the logits of no states."""
    with torch.no_grad():
        return policy.logits(states[:0]).shape[-1]


def scores_of(
    policy: MakesLogits,
    states: Float[Tensor, "S D"],
    token_ids: Int[Tensor, "S"],
    temperature: Float[Tensor, "S"],
    into_grad: bool = False,
    kept: KeptLaws | None = None,
) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
    """Log-probs and entropies of softmax(logits / temperature) at these tokens, with gradient where it is on.

    Where [S V] is more than a chunk it is never made: through `head_logprobs` for a plain linear head, and for any
    other (an adapter on the head) by making each chunk again in the backward pass. `into_grad`: see `head_logprobs`.
    `kept`: both are of the law over the tokens that truncated sampling left, see `KeptLaws`; what was left does not
    depend on the weights, and tokens outside get no gradient.
    """
    if kept is not None:
        return kept_scores(policy, states, token_ids, temperature, kept)
    if not pays(len(states), vocabulary_of(policy, states)):
        return logprobs_and_entropies(policy.logits(states), token_ids, temperature)
    head = policy.head if isinstance(policy, HasHead) else None
    if head is not None and is_plain(head):
        bias = None if head.bias is None else _tensor(head.bias)
        return head_logprobs(states, _tensor(head.weight), bias, token_ids, temperature, into_grad=into_grad)
    logprobs, entropies = read_laws(policy.logits, states, logprobs_and_entropies, token_ids, temperature)
    return logprobs, entropies


def kept_scores(
    policy: MakesLogits,
    states: Float[Tensor, "S D"],
    token_ids: Int[Tensor, "S"],
    temperature: Float[Tensor, "S"],
    kept: KeptLaws,
) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
    """`scores_of` over the kept tokens, in chunks where [S V] is large. Costs a mask of each chunk more."""

    def read(logits: Tensor, ids: Tensor, heat: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        return logprobs_and_entropies(kept.restrict(logits, which), ids, heat)

    which = torch.arange(len(states), device=states.device)
    logprobs, entropies = read_laws(policy.logits, states, read, token_ids, temperature, which)
    return logprobs, entropies


def logprobs_of(
    policy: MakesLogits,
    states: Float[Tensor, "S D"],
    token_ids: Int[Tensor, "S"],
    temperature: Float[Tensor, "S"],
    kept: KeptLaws | None = None,
) -> Float[Tensor, "S"]:
    """The log-probs alone, see `scores_of`."""
    if kept is not None:
        return kept_scores(policy, states, token_ids, temperature, kept)[0]
    if not pays(len(states), vocabulary_of(policy, states)):
        return token_logprobs(policy.logits(states), token_ids, temperature)
    return scores_of(policy, states, token_ids, temperature)[0]


def _tensor(weight: object) -> Tensor:
    assert isinstance(weight, Tensor)
    return weight
