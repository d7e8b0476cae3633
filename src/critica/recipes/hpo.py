"""HPO: GRPO's credit with blame at six tenths, every token of the step weighing alike."""

from critica.advantages.outcome import Outcome
from critica.advantages.sign_weighted import SignWeighted
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

HPO = Recipe(
    name="hpo",
    paper=Paper("Hysteretic Policy Optimization", "2605.30201"),
    critic=GroupMean(),
    advantage=SignWeighted(Outcome(scale="group"), alpha=0.6),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=TokenMean()),
    provenance={
        "advantage": PaperSays("negative advantages are weighted by alpha in [0, 1]"),
        "advantage.alpha": PaperSays("the best fixed value of its ablation, as a digest reports it"),
        "objective.reduction": PaperSays("normalized by the mean length over the batch, which is the mean over tokens"),
        "objective.surrogate": OurChoice("the usual clip", paper="not known to us"),
        "objective.penalties": OurChoice("none", paper="not known to us"),
    },
)
