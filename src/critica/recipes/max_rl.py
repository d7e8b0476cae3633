"""MaxRL: the likelihood of being right, to the order that n samples allow: rarely solved prompts count more."""

from critica.advantages.count_weighted import CountWeighted, PowerWeights
from critica.critics.counted import NoBaseline
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

MAX_RL = Recipe(
    name="max_rl",
    paper=Paper("Maximum Likelihood Reinforcement Learning", "2602.02710"),
    critic=NoBaseline(),
    advantage=CountWeighted(PowerWeights(power=1.0), baseline="one"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=TokenMean()),
    provenance={
        "advantage.weights": PaperSays("the mean score of the right answers: W(p) = (1 - (1 - p)^n) / p"),
        "advantage.baseline": PaperSays("the mean score of all answers, also of prompts that all fail: order n"),
        "advantage": CodeSays("tajwarfahim/maxrl and prime-rl drop prompts that all fail, which gives order n - 1: critic=group_mean, advantage=outcome, advantage.scale=mean"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
        "objective.reduction": OurChoice("tokens of all answers weigh alike", paper="not known to us"),
        "sampling.samples_per_prompt": OurChoice("as the other recipes: the order of the likelihood", paper="up to 64"),
    },
)
