"""A-HPO: hysteretic policy optimization that sets the weight of blame by the step's own share of praised answers."""

from critica.advantages.outcome import Outcome
from critica.advantages.sign_weighted import AdaptiveSignWeighted
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

A_HPO = Recipe(
    name="a_hpo",
    paper=Paper("Hysteretic Policy Optimization", "2605.30201"),
    critic=GroupMean(),
    advantage=AdaptiveSignWeighted(Outcome(scale="group"), least=0.1),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=TokenMean()),
    provenance={
        "advantage": PaperSays("alpha is the ratio of the batch's shares of positive and negative advantages, clipped to [alpha_min, 1]"),
        "advantage.least": OurChoice("a tenth", paper="alpha_min is not known to us"),
        "objective.reduction": PaperSays("normalized by the mean length over the batch, which is the mean over tokens"),
        "objective.surrogate": OurChoice("the usual clip", paper="not known to us"),
    },
)
