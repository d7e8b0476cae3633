"""CISPO: what is clipped is the weight of a token's gradient, so that no token loses it."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedWeight
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

CISPO = Recipe(
    name="cispo",
    paper=Paper("MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention", "2506.13585"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedWeight(low=0.0, high=5.0), reduction=TokenMean()),
    provenance={
        "critic": PaperSays("eq. 4: GRPO's group-relative advantage"),
        "objective.surrogate": PaperSays("eq. 5: a clipped weight, detached; no lower bound in effect"),
        "objective.surrogate.high": CodeSays("5, the ScaleRL recipe as TRL states it; verl bounds rho by 1 +- 0.2 instead"),
        "objective.reduction": PaperSays("eq. 4: a mean over all tokens of the group"),
        "objective.penalties": PaperSays("section 3.1: no KL term"),
        "learner.updates_per_epoch": OurChoice("one update, at which every ratio is 1; raise it to see the weights", paper="16"),
    },
)
