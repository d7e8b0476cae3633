"""Credit for what each token's own words are worth, beside the outcome: rewards that are not passed on."""

from dataclasses import dataclass

from critica.advantages.base import AdvantageRule
from critica.functional.groups import outcome_scale
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class TokenReward(AdvantageRule):
    """A_t = (c + T r_t - V) / (std over the group of R, + epsilon): each token is credited with its own part alone.

    R = told total; r_t is what `objective` placed on token t of the row's T sampled tokens, and c the sum of all other
    objectives. Where an objective is a mean over the answer of what its parts are worth, T r_t is what token t's part
    is worth, and the mean of A over the tokens is `Outcome`'s A: the same mass, more finely placed. No token is paid
    for what comes later, so this is no policy gradient of R: right where a sentence's worth is its own doing.
    Source: CorVer (arXiv 2605.29648, code shichengf/CorVer), whose epsilon is 1e-4. Rows of a group that all have one
    R keep the differences inside them, unscaled; there the published form divides by epsilon. What one word is worth
    lands on its last token, and so does the rest of the answer on the answer's last.
    """

    objective: str
    epsilon: float = 1e-4

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        if self.objective not in told.objectives:
            raise ValueError(
                f"advantage.objective is {self.objective!r}, and rewards speak of {', '.join(told.objectives)}: name"
                " one of these"
            )
        known = told.all_known
        mask = values.mask & batch.sampled_mask & known[:, None]
        dense = told.per_token[..., told.objectives.index(self.objective)]
        returns = told.per_token.sum(dim=(1, 2))
        rest = returns - dense.sum(-1)
        count = batch.sampled_mask.sum(-1).to(dense.dtype)
        scale = outcome_scale("group", returns, known, batch.group_index, self.epsilon)
        advantage = (rest[:, None] + count[:, None] * dense - values.mean) / scale[:, None]
        return Advantages(advantage.where(mask, advantage.new_zeros(())), mask, known & False, "token_reward")
