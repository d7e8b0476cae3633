"""From a loss per token to the number that is differentiated, with denominators counted over the whole step."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.records.losses import Constant, LossTerm, Reduction, SequenceMeanOfTokenMeans, TokenMean


def denominator(mask: Bool[Tensor, "N T"], reduction: Reduction) -> float:
    """What the whole optimizer step's sum is divided by; `mask` covers the whole step.

    `TokenMean`: masked tokens. Sequence means: rows with any masked token. `Constant`: all rows x its tokens, also
    rows that train nothing, so that no count drawn at random scales the gradient (Dr. GRPO, arXiv 2503.20783).
    """
    if isinstance(reduction, TokenMean):
        return float(mask.sum())
    if isinstance(reduction, Constant):
        return float(mask.shape[0] * reduction.tokens)
    return float(mask.any(-1).sum())


def reduce(term: LossTerm, denominator: float) -> Float[Tensor, ""]:
    """weight x (this micro-batch's sum) / denominator: summed over the micro-batches of a step, the step's loss.

    Rows may be split over micro-batches in any way, but a row must stay whole. Values under a false mask never enter,
    not even when they are not finite. Zero when nothing is masked in the whole step. Raises ValueError when tokens
    are to be trained but the denominator is not positive: it was counted over another mask.
    """
    kept = torch.where(term.mask, term.values, torch.zeros_like(term.values))
    if denominator <= 0:
        if bool(term.mask.any()):
            raise ValueError(
                f"reduce: loss {term.name!r} has tokens to train but the step's denominator is {denominator}; "
                "count it over the whole step with denominator(mask, reduction)"
            )
        return kept.sum()
    if isinstance(term.reduction, SequenceMeanOfTokenMeans):
        total = (kept.sum(-1) / term.mask.sum(-1).clamp(min=1)).sum()
    else:
        total = kept.sum()
    return total * (term.weight / denominator)
