"""A critic's features kept readable by the frozen language head of the policy that the run began with."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from critica.critics.base import CriticContext
from critica.functional.bottleneck import uncertain_tokens
from critica.functional.logprobs import logprobs_and_entropies
from critica.records.arrays import TokenBatch, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class SemanticAnchor:
    """`weight` * (entropy + negative log-likelihood) of the frozen head W h on each trajectory's uncertain tokens.

    p_t = softmax(W h_t); uncertain are tokens whose entropy or surprise lies in the upper 1 - `share` of their
    trajectory (VRPO, arXiv 2508.03058: a frozen language head keeps the value model's features near language where
    the text is in doubt). The gradient reaches the critic's body through h_t and never W. The state is the one before
    the token, as for the value. Use it with a body of its own; not on a shared, detached trunk, where nothing can
    move. At weight 0 it is not there. Costs one product with the vocabulary per token, and its activations.

    Formulas, `share` and `weight` are ours (the paper's are not public). The final norm before W is the body's own
    and learns with it. The sum over uncertain tokens is divided by all of the step's target tokens: the weight is per
    token of the batch, not per uncertain one. It rewards certainty whether or not that predicts return: measure.
    """

    weight: float = 1e-2
    share: float = 0.8

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"semantic.weight cannot be negative, got {self.weight}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"semantic.share is a share of a trajectory's tokens, in [0, 1], got {self.share}")

    def reaches(self, width: int) -> int:
        """It changes nothing about the states."""
        return width

    def build(self, context: CriticContext, width: int) -> nn.Module:
        """The live loss with a copy of the policy's head as it is now."""
        if width != context.policy.width:
            raise ValueError(
                f"the semantic anchor reads states of the policy's width {context.policy.width}, the critic's body has"
                f" {width}: put it before other regularizers, and use critic.body=own"
            )
        weight = next(context.policy.model.parameters())
        with torch.no_grad():
            bias = context.policy.logits(weight.new_zeros(1, width))
            head = context.policy.logits(torch.eye(width, dtype=weight.dtype, device=weight.device)) - bias
        return SemanticLoss(self, head.T, bias.squeeze(0))


class SemanticLoss(nn.Module):
    """Hands states on as they are, and says what the frozen head thinks of them."""

    frozen_head: Tensor
    frozen_bias: Tensor

    def __init__(self, part: SemanticAnchor, head: Float[Tensor, "V D"], bias: Float[Tensor, "V"]) -> None:
        super().__init__()
        self.part = part
        # Not saved: a resumed run builds it from the same first policy.
        self.register_buffer("frozen_head", head.detach().clone().contiguous(), persistent=False)
        self.register_buffer("frozen_bias", bias.detach().clone(), persistent=False)

    def shape(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, mask: Bool[Tensor, "N T"]
    ) -> tuple[Float[Tensor, "S D"], tuple[LossTerm, ...]]:
        """The states, and the loss on uncertain tokens."""
        if not self.part.weight:
            return states, ()
        ids = batch.token_ids[batch.sampled_mask]
        heat = torch.ones_like(states[:, 0])
        logprobs, entropy = logprobs_and_entropies(states @ self.frozen_head.T + self.frozen_bias, ids, heat)
        entropies, surprise = (scatter_sampled(part, batch.sampled_mask) for part in (entropy, -logprobs))
        chosen = uncertain_tokens(entropies, surprise, mask, self.part.share)
        return states, (LossTerm("semantic", entropies + surprise, chosen, self.part.weight, TokenMean()),)

    def settle(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S D"]:
        """The states as they are."""
        return states
