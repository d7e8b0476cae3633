"""GSPO: one ratio an answer, the geometric mean of its tokens', clipped within parts of a thousand."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, Learner, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans

GSPO = Recipe(
    name="gspo",
    paper=Paper("Group Sequence Policy Optimization", "2507.18071"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(
        ClippedRatio(low=3e-4, high=4e-4), reduction=SequenceMeanOfTokenMeans(), level="sequence_mean"
    ),
    learner=replace(Learner(), updates_per_epoch=4),
    provenance={
        "critic": PaperSays("eq. 6: the outcome in deviations of its group"),
        "advantage.scale": PaperSays("eq. 6"),
        "objective.level": PaperSays("eq. 7: s = exp(mean of the tokens' log ratios)"),
        "objective.surrogate": PaperSays("section 5.1: 3e-4 and 4e-4"),
        "objective.reduction": PaperSays("eq. 5: a mean over answers; each token's share of s, eq. 10, averages over its own"),
        "objective.penalties": CodeSays("TRL's paper index: beta 0"),
        "learner.updates_per_epoch": PaperSays("section 5.1: four mini-batches of each batch of answers"),
        "sampling.samples_per_prompt": OurChoice("as the other recipes", paper="not stated"),
    },
)
