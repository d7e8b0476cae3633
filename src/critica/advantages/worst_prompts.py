"""Credit weighed by prompt: more where the policy does badly, as if prompts came in the worst mix nearby."""

from dataclasses import dataclass, replace

import torch

from critica.advantages.base import AdvantageRule, Around
from critica.functional.groups import group_mean, group_sizes
from critica.functional.robust_losses import kl_ball_weights
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class WorstPrompts(Around):
    """A_n q_g / p_g for rows n of prompt g: q = argmin over KL(q || p) <= radius of sum_g q_g (mean outcome of g).

    p_g is the prompt's share of the step's rows that have an outcome. The gradient of the worst mix's expected return
    is that at the worst q, so this is distributionally robust policy optimization over the step's prompts
    (arXiv 2503.00539; its ball and numbers are not public to us: a KL ball, minibatch by minibatch, is our choice). At
    `radius` 0 (nats) it is `inner`; around log(prompts) all credit goes to the worst prompt. Use it where prompts of
    use will be harder than those of training; not with noisy rewards, where what looks worst is often what was told
    wrongly, nor with an inner rule that standardizes by prompt where outcomes barely vary.
    """

    inner: AdvantageRule
    radius: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.radius < float("inf"):
            raise ValueError(f"advantage.radius is {self.radius}: a ball's radius is 0 or above, and finite")

    @property
    def scale_free(self) -> bool:
        """Never: which mix is worst depends on the rewards' scale."""
        return False

    @property
    def divides_by_group_spread(self) -> bool:
        """Never: prompts are weighed after whatever is inside."""
        return False

    @property
    def shift_free(self) -> bool:
        """Not promised."""
        return False

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        credit = self.inner.estimate(batch, told, values, evidence)
        known = told.all_known
        if not bool(known.any()):
            return credit
        returns = told.per_token.sum(dim=(1, 2))
        mean = group_mean(returns, known, batch.group_index)
        size = group_sizes(known, batch.group_index).to(returns.dtype)
        names = batch.group_index[known].unique()
        first = torch.stack([(known & (batch.group_index == name)).nonzero()[0, 0] for name in names])
        base = size[first] / size[first].sum()
        factor = torch.ones_like(returns)
        for name, ratio in zip(names, kl_ball_weights(-mean[first], base, self.radius) / base, strict=True):
            factor[batch.group_index == name] = ratio
        return replace(credit, advantage=credit.advantage * factor[:, None], rule=f"worst_prompts({credit.rule})")
