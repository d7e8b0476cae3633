"""OPO: exact on-policy updates against the group's mean by length, the baseline of least variance for long answers."""

from critica.advantages.outcome import Outcome
from critica.critics.length_weighted import LengthWeighted
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

OPO = Recipe(
    name="opo",
    paper=Paper("On-Policy RL with Optimal Reward Baseline", "2505.23585"),
    critic=LengthWeighted(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(PolicyGradient(), reduction=TokenMean()),
    provenance={
        "critic": PaperSays("sum of length x reward over sum of lengths"),
        "advantage.scale": PaperSays("no division by a deviation"),
        "objective.surrogate": PaperSays("exact on-policy, so that there is no ratio to clip"),
        "objective.penalties": PaperSays("neither a KL term nor an entropy bonus"),
        "objective.reduction": OurChoice("tokens of all answers weigh alike", paper="not stated; verl's default is the token mean"),
        "sampling.samples_per_prompt": OurChoice("as the other recipes", paper="16"),
    },
)
