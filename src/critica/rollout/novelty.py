"""A bonus for right answers that the reference would hardly have written: it keeps more than one way of being right."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.groups import EPSILON, group_mean, group_std


@dataclass(frozen=True, slots=True)
class Novelty:
    """coefficient * nov for each right answer, nov = clip(z, 0, 2) / 2, z its perplexity among the right siblings.

    z = (nll - mean) / (std + 1e-6) over the right answers of the group (ddof=1), nll = -mean over sampled tokens of
    log reference. Right: an outcome of `right` or more (after combination). Nothing where fewer than two are right, and
    nothing ever for a wrong answer; 0 switches it off. It revives prompts that are always solved: their groups differ
    by the bonus alone, and standardizing advantages then makes the bonus count as much as being right does elsewhere.

    Source: "When RL suppresses its own vocabulary" (arXiv 2605.29190) rewards diverse correct answers by perplexity
    under the reference; it publishes neither formula nor coefficient: this form and .25 are ours.
    Costs one forward pass of the reference over the batch.
    """

    coefficient: float = 0.0
    right: float = 0.5

    def __post_init__(self) -> None:
        if self.coefficient < 0:
            raise ValueError(f"placement.novelty.coefficient is a bonus, at least 0, got {self.coefficient}")

    def bonus(
        self,
        outcome: Float[Tensor, "N"],
        known: Bool[Tensor, "N"],
        reference: Float[Tensor, "N T"],
        sampled_mask: Bool[Tensor, "N T"],
        group_index: Int[Tensor, "N"],
    ) -> Float[Tensor, "N"]:
        """What each answer gets on top."""
        right = known & (outcome.nan_to_num(-torch.inf) >= self.right)
        lengths = sampled_mask.sum(-1).clamp(min=1)
        surprise = -(reference * sampled_mask).sum(-1).double() / lengths
        spread = group_std(surprise, right, group_index)
        score = (surprise - group_mean(surprise, right, group_index)) / (spread + EPSILON)
        alone = spread == 0
        novelty = torch.where(right & ~alone, score.clamp(0, 2) / 2, 0.0)
        return (self.coefficient * novelty).to(outcome.dtype)
