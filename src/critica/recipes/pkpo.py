"""PKPO: the gradient of pass@k itself: a right answer counts by the chance that the other tries all fail."""

from critica.advantages.count_weighted import CountWeighted, PassAt
from critica.critics.counted import NoBaseline
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

PKPO = Recipe(
    name="pkpo",
    paper=Paper("Pass@K Policy Optimization: Solving Harder Reinforcement Learning Problems", "2505.15201"),
    critic=NoBaseline(),
    advantage=CountWeighted(PassAt(tries=4), baseline="none"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=TokenMean()),
    provenance={
        "advantage.weights": PaperSays("the unbiased estimator with its baseline over the k - 1 others (`sloo_minus_one`): right answers alone are credited"),
        "advantage.weights.tries": OurChoice("half a group of eight", paper="several"),
        "advantage.baseline": CodeSays("tajwarfahim/maxrl subtracts the siblings' mean credit, which is biased: baseline=siblings"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not stated"),
        "objective.reduction": OurChoice("tokens of all answers weigh alike", paper="not stated"),
    },
)
