"""A next-token law over the tokens that were kept when it was sampled from, in place of the whole vocabulary."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.records.arrays import TokenBatch
from critica.records.kept_tokens import KeptTokens


class KeptLaws:
    """Of S sampled tokens, row-major, the ids that each was drawn among.

    With K the kept set of a token a, log pi_K(a) = z_a - log sum_{v in K} exp z_v, z the logits over the temperature.
    K is what the sampler kept, whatever the weights are now: the four log-probs of a token (behavior, proximal, policy,
    reference) are then of laws over one set, the ratio of policy and behavior is 1 on-policy, and the expected gradient
    of log pi_K under the law sampled from is 0, as a policy gradient needs it. Over the whole vocabulary neither holds:
    each ratio would be off by the mass of K, and every step would move mass toward K whatever the credit.

    Source: "keep sampling mask" (DeepSeek-V3.2, arXiv 2512.02556, 3.1); prime-rl, vLLM and miles replay the same sets.
    """

    def __init__(self, counts: Int[Tensor, "S"], ids: Int[Tensor, "E"]) -> None:
        self.counts, self.ids = counts, ids
        self._starts = counts.cumsum(0) - counts

    @classmethod
    def of(cls, batch: TokenBatch, device: torch.device) -> "KeptLaws | None":
        """Those of a batch's sampled tokens; None if no sampling was truncated."""
        if not any(batch.kept):
            return None
        sampled = batch.sampled_mask.sum(-1).tolist()
        counts, ids = KeptTokens.join(list(zip(sampled, batch.kept, strict=True))).arrays()
        if len(counts) != sum(sampled):
            raise ValueError(f"kept sets of {len(counts)} tokens for {sum(sampled)} sampled ones: rows were changed")
        return cls(*(torch.from_numpy(part.astype(np.int64)).to(device) for part in (counts, ids)))

    def restrict(self, logits: Float[Tensor, "n V"], tokens: Int[Tensor, "n"]) -> Float[Tensor, "n V"]:
        """The logits of these of the S tokens with everything outside their kept sets at -inf, with gradient."""
        counts = self.counts[tokens]
        cut = (counts > 0).nonzero().squeeze(-1)
        rows = cut.repeat_interleave(counts[cut])
        first = (self._starts[tokens] - (counts.cumsum(0) - counts))[rows]
        ids = self.ids[torch.arange(len(rows), device=rows.device) + first]
        outside = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
        outside[cut] = True
        outside[rows, ids] = False
        return logits.masked_fill(outside, -torch.inf)
