"""RL2ML: between reinforcement learning and maximum likelihood, by one power of the group's success count."""

from critica.advantages.count_weighted import CountWeighted, PowerWeights
from critica.critics.counted import NoBaseline
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

RL2ML = Recipe(
    name="rl2ml",
    paper=Paper("Finite-rollout surrogate objectives between RL and maximum likelihood", "2605.30154"),
    critic=NoBaseline(),
    advantage=CountWeighted(PowerWeights(power=0.5), baseline="others"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=TokenMean()),
    provenance={
        "advantage": PaperSays("any estimator that sees a group through its success count weighs prompts by a Bernstein polynomial"),
        "advantage.weights": OurChoice("(n / k)^power: 0 is RL, 1 is MaxRL", paper="its own family is not known to us"),
        "advantage.weights.power": OurChoice("half way", paper="chosen by a one-dimensional rule not known to us"),
        "advantage.baseline": OurChoice("of the other answers alone: at power 0 it is RLOO, at any power unbiased", paper="a constant"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
        "objective.reduction": OurChoice("tokens of all answers weigh alike", paper="not known to us"),
    },
)
