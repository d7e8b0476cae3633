"""REINFORCE++ with a baseline: the outcome against its group's mean, in deviations of the whole step."""

from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean
from critica.rollout.place import Placement

REINFORCE_PP_BASELINE = Recipe(
    name="reinforce_pp_baseline",
    paper=Paper("REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization", "2501.03262"),
    critic=GroupMean(),
    advantage=Standardized(Outcome(scale="none")),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=TokenMean()),
    placement=Placement(reference_kl=0.0),
    provenance={
        "critic": PaperSays("the mean of the group, the own answer included"),
        "advantage": CodeSays("verl core_algos.py: group mean, then whitened over all tokens of the batch"),
        "objective.surrogate": PaperSays("PPO's clip, 0.2"),
        "objective.reduction": CodeSays("OpenRLHF's default: the mean over tokens"),
        "placement.reference_kl": OurChoice("off for verifiable rewards", paper="k2 in the loss"),
    },
)
